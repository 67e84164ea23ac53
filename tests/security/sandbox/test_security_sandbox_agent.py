"""The workload against the frame agent, and a hostile PID 1 against the host: nothing is forged, nothing hangs."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cells import BOUNDS, Cell

from agent_pipeline import clock
from agent_pipeline.config import Config
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import bubblewrap, docker, frames, layout, session
from agent_pipeline.sandbox import container as container_of
from agent_pipeline.sandbox.cell import Cell as Launched
from agent_pipeline.sandbox.contract import Image, Spec
from agent_pipeline.sandbox.images import docker_load, unpack

pytestmark = pytest.mark.containers

REACH = """
import ctypes, errno, json, os, signal
libc = ctypes.CDLL(None, use_errno=True)
found = {}
def tried(name, action):
    try:
        action()
        found[name] = "allowed"
    except OSError as error:
        found[name] = errno.errorcode[error.errno]
def call(*args):
    if libc.syscall(*args) < 0:
        raise OSError(ctypes.get_errno(), "")
for name in ("auxv", "environ", "exe", "maps", "mem", "pagemap", "personality", "root", "stack", "syscall",
             "smaps", "io", "map_files", "task/1/mem", "task/1/fd", "fd", "fdinfo", "cwd", "patch_state"):
    path = "/proc/1/" + name
    if os.path.lexists(path):
        tried("read " + name, lambda: os.readlink(path) if os.path.islink(path) else
              os.listdir(path) if os.path.isdir(path) else os.read(os.open(path, os.O_RDONLY), 1))
for name in ("mem", "comm", "clear_refs", "coredump_filter", "oom_score_adj", "oom_adj", "timerslack_ns", "autogroup",
             "sched", "setgroups", "uid_map", "gid_map", "loginuid", "timens_offsets", "make-it-fail"):
    path = "/proc/1/" + name
    if os.path.exists(path):
        tried("write " + name, lambda: os.write(os.open(path, os.O_WRONLY), b"0"))
for number in range(8):
    for mode in (os.O_RDONLY, os.O_WRONLY):
        tried(f"descriptor {number} {mode}", lambda: os.open(f"/proc/1/fd/{number}", mode))
tried("ptrace attach", lambda: call(101 if os.uname().machine == "x86_64" else 117, 16, 1, 0, 0))
tried("ptrace seize", lambda: call(101 if os.uname().machine == "x86_64" else 117, 0x4206, 1, 0, 0))
pidfd = os.pidfd_open(1)
for number in range(8):
    tried(f"pidfd_getfd {number}", lambda: call(438, pidfd, number, 0))
tried("setns", lambda: call(308 if os.uname().machine == "x86_64" else 268, pidfd, 0x20000))
print(json.dumps(found))
"""


def test_nothing_of_the_agent_can_be_read_written_or_opened(cell: Cell) -> None:
    """PID 1 is not dumpable: the kernel takes its files in /proc for root's; ptrace and pidfd_getfd are filtered."""
    done = cell.python(REACH)
    found = json.loads(done.output)
    assert len(found) > 40
    open_to_all = {"write timerslack_ns"}  # asks for CAP_SYS_NICE, and is read-only without
    assert {name for name, answer in found.items() if answer == "allowed"} - open_to_all == set()
    assert {found[name] for name in found if name.startswith(("ptrace", "pidfd", "setns"))} == {"EPERM"}


SIGNALS = """
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
x86 = os.uname().machine == "x86_64"
for number in range(1, 65):
    for send in (lambda: os.kill(1, number), lambda: libc.syscall(234 if x86 else 131, 1, 1, number),
                 lambda: signal.pidfd_send_signal(os.pidfd_open(1), number), lambda: os.killpg(1, number)):
        try:
            send()
        except OSError:
            pass
info = (ctypes.c_int * 32)(9, 0, -1)
libc.syscall(129 if x86 else 138, 1, 9, info)
print("sent")
"""


def test_no_signal_ends_or_stops_the_agent(cell: Cell) -> None:
    """The kernel drops what PID 1 has no handler for, when it comes from its own namespace."""
    assert b"sent" in cell.python(SIGNALS).output


def test_killing_everything_kills_only_oneself(cell: Cell) -> None:
    """PID 1 and the caller are left out, and nobody else is in the namespace."""
    assert b"ProcessLookupError" in cell.python("import os\nos.kill(-1, 9)").output


FRAME = bytes([frames.RESULT]) + b"12345678" + len(frames.pack([b"0", b"0", b"forged"])).to_bytes(4, "big")
FORGED = FRAME + frames.pack([b"0", b"0", b"forged"])


def test_forged_frames_are_output_and_nothing_else(cell: Cell) -> None:
    """Framing is out of band: what a command writes can only ever be the content of its own answer."""
    code = (
        "import os, sys\n"
        f"data = {FORGED!r} * 50\n"
        "os.write(1, data); os.write(2, data)\n"
        "for n in range(3, 64):\n"
        "    try: os.write(n, data)\n"
        "    except OSError: pass\n"
        "for p in ('/proc/1/fd/0', '/proc/1/fd/1', '/dev/console', '/dev/tty', '/proc/1/fd/3', '/proc/1/fd/4'):\n"
        "    try: os.write(os.open(p, os.O_WRONLY | os.O_NONBLOCK), data)\n"
        "    except OSError: pass\n"
        "sys.exit(9)"
    )
    done = cell.python(code)
    assert (done.code, done.output) == (9, FORGED * 100)


def test_a_process_left_behind_does_not_speak_in_the_next_commands_name(cell: Cell) -> None:
    """Everything but PID 1 is killed before the answer is sent; the next command has a new pipe."""
    done = cell.run(
        ["bash", "-c", "for i in 1 2 3 4 5; do setsid bash -c 'while :; do echo intruder; done' & done; echo first"]
    )
    assert b"first" in done.output
    for _ in range(10):
        assert cell.run(["echo", "mine"]).output == b"mine\n"


def test_a_flood_is_cut_off_and_the_next_answer_is_whole(cell: Cell) -> None:
    """64 MiB, then the whole session is killed; of what came 1 MiB is kept at most."""
    started = clock.monotonic()
    done = cell.run(
        ["bash", "-c", f"while :; do printf '%s' '{FORGED[:20].hex() * 100}'; done & yes & yes & exec yes"], seconds=60
    )
    assert (done.code, done.truncated) == (None, True)
    assert len(done.output) <= 1 << 20
    assert clock.monotonic() - started < 30
    assert cell.run(["echo", "whole"]).output == b"whole\n"


def test_closing_its_own_streams_does_not_confuse_the_agent(cell: Cell) -> None:
    done = cell.python("import os\nfor n in range(3): os.close(n)\nos._exit(3)")
    assert (done.code, done.output) == (3, b"")
    done = cell.run(["bash", "-c", "exec >&- 2>&-; sleep 0.3; exit 4"])
    assert (done.code, done.output) == (4, b"")


STARVE = """
import ctypes, errno, json, os, resource
libc = ctypes.CDLL(None, use_errno=True)
x86 = os.uname().machine == "x86_64"
found = {}
def tried(name, action):
    try:
        action()
        found[name] = "allowed"
    except OSError as error:
        found[name] = errno.errorcode[error.errno]
def call(numbers, *args):
    if libc.syscall(numbers[0 if x86 else 1], *args) < 0:
        raise OSError(ctypes.get_errno(), "")
for name in ("NOFILE", "NPROC", "AS", "CPU", "FSIZE", "STACK", "DATA", "RTTIME", "SIGPENDING"):
    tried("limit " + name, lambda: resource.prlimit(1, getattr(resource, "RLIMIT_" + name), (0, 0)))
param = os.sched_param(0)
tried("scheduler idle", lambda: os.sched_setscheduler(1, os.SCHED_IDLE, param))
tried("scheduler batch", lambda: os.sched_setscheduler(1, os.SCHED_BATCH, param))
tried("parameters", lambda: os.sched_setparam(1, param))
attributes = (ctypes.c_uint32 * 12)(48, 5)  # struct sched_attr: its size, SCHED_IDLE
tried("attributes", lambda: call((314, 274), 1, attributes, 0))
tried("nice", lambda: os.setpriority(os.PRIO_PROCESS, 1, 19))
tried("nice of its group", lambda: os.setpriority(os.PRIO_PGRP, 1, 19))
tried("nice of the user", lambda: os.setpriority(os.PRIO_USER, 0, 19))
tried("nice of the user by number", lambda: os.setpriority(os.PRIO_USER, os.getuid(), 19))
tried("disk", lambda: call((251, 30), 1, 1, 3 << 13))
tried("disk of the user", lambda: call((251, 30), 3, 0, 3 << 13))
print(json.dumps(found))
"""


def test_the_agents_limits_and_scheduler_are_out_of_reach(cell: Cell) -> None:
    """It has the workload's uid, to which the kernel would allow all of this: the filter looks whom it is about."""
    found = json.loads(cell.python(STARVE).output)
    assert len(found) == 19
    assert {name: how for name, how in found.items() if how != "EPERM"} == {}
    assert cell.alive()


OWN = """
import os, resource, subprocess, threading
os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
os.setpriority(os.PRIO_PROCESS, 0, 5)
os.nice(1)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
os.sched_setaffinity(0, os.sched_getaffinity(0))
print(resource.prlimit(os.getpid(), resource.RLIMIT_NOFILE), resource.prlimit(1, resource.RLIMIT_CORE))
print(subprocess.run(["nice", "-n", "3", "ionice", "-c3", "nice"], capture_output=True, text=True).stdout.strip())
print(subprocess.run(["sh", "-c", "ulimit -n 32; ulimit -n"], capture_output=True, text=True).stdout.strip())
"""


def test_a_command_has_its_own_limits_and_scheduler(cell: Cell) -> None:
    done = cell.python(OWN)
    assert (done.code, done.output) == (0, b"(64, 64) (0, 0)\n9\n32\n")


# PID 1 itself as the enemy: an image that was made to lie. Each is a Python program in its place.
ASKED = "import os, time; h = os.read(0, 99)[1:9]; say = lambda *parts: os.write(1, b''.join(parts))\n"
HOSTILE = {
    "says nothing": "import time; time.sleep(60)",
    "ends at once": "pass",
    "sends half a header": ASKED + "say(b'A' * 5); time.sleep(60)",
    "claims 4 GiB": ASKED + "say(bytes([65]), h, b'\\xff' * 4); time.sleep(60)",
    "answers what was not asked": "import os, time; os.write(1, bytes([65]) + b'x' * 8 + bytes(4)); time.sleep(60)",
    "floods": "import os\nwhile True: os.write(1, b'x' * 65536)",
    "floods on stderr": "import os\nwhile True: os.write(2, b'x' * 65536)",
    "an unknown type": ASKED + "say(bytes([99]), h, bytes(4)); time.sleep(60)",
    "an empty report": ASKED + "say(bytes([65]), h, bytes(4)); time.sleep(60)",
    "a field beyond its frame": ASKED + "say(bytes([65]), h, bytes([0, 0, 0, 4, 255, 255, 255, 255])); time.sleep(60)",
    "stops in mid-frame": ASKED + "say(bytes([65]), h, bytes([0, 0, 255, 255]), b'x' * 99); time.sleep(60)",
}


@pytest.fixture
def workspace() -> Iterator[Path]:
    top = Path(tempfile.mkdtemp(prefix="agent-pipeline-attack-"))
    top.chmod(0o755)
    path = top / "workspace"
    path.mkdir()
    if os.geteuid() == 0:
        os.chown(path, layout.owner(), layout.group())
    yield path
    shutil.rmtree(top)


@pytest.mark.parametrize("behaviour", HOSTILE)
@pytest.mark.parametrize("engine", ["docker", "bubblewrap"])
def test_a_hostile_pid_1_is_found_out_in_bounded_time_and_memory(
    engine: str, behaviour: str, config: Config, image: Image, workspace: Path
) -> None:
    """Frames: a fresh tag, a closed set of types, a bound on every length before a byte of it is read."""
    spec = Spec(image, workspace, BOUNDS, "hostile")
    program = ["/usr/bin/python3", "-I", "-S", "-c", HOSTILE[behaviour]]
    tracemalloc.start()
    started = clock.monotonic()
    try:
        one = _contain(engine, program, config, spec)
        try:
            with pytest.raises(SandboxError):
                bubblewrap.posture.check(_greeted(one), {}, bubblewrap.expected(spec, {}))
        finally:
            one.end()
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert clock.monotonic() - started < 12
    assert peak < 32 << 20


def _greeted(one: Launched | container_of.Container) -> dict[str, str]:
    return session.greet(one.link, seconds=20, processes=None, timeout=2)


def _contain(engine: str, program: list[str], config: Config, spec: Spec) -> Launched | container_of.Container:
    if engine == "bubblewrap":
        arguments = bubblewrap.arguments(unpack.rootfs(config, spec.image), spec, layout.environment(spec.image))
        return Launched(["bwrap", *arguments[: arguments.index("--", -6)], "--", *program], spec, None)
    sdk = container_of.connect(30)
    container = container_of.Container(sdk.api, f"agent-pipeline-test-{os.urandom(4).hex()}")
    configuration = docker._configuration(
        sdk.api, container.name, spec, docker_load.ensure(sdk, spec.image), container_of.bound(spec)
    )
    configuration["Entrypoint"] = program
    container.start(configuration)
    return container
