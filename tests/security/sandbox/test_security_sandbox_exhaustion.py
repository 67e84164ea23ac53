"""A workload that wants all of the host: what bounds it, in every mode. Each attack is itself bounded.

An ordinary user without a delegated control group has no bound on memory together and processors; that start is
refused where the policy requires them (`sandbox.require`), and what stands in meanwhile is tried here.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.cells import BOUNDS, Cell

from agent_pipeline import clock, process
from agent_pipeline.config import Config
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import engines
from agent_pipeline.sandbox.contract import Image, Spec

pytestmark = pytest.mark.containers

FORK = """
import os, time
forked = 0
try:
    for _ in range(400):
        if os.fork() == 0:
            time.sleep(20)
            os._exit(0)
        forked += 1
except OSError as error:
    print(error.errno, forked)
"""


def test_a_fork_bomb_ends_at_the_bound(cell: Cell) -> None:
    """The pids control group; without one RLIMIT_NPROC, which the host's uid counts."""
    said = cell.python(FORK).output.split()
    assert said[0] == b"11"  # EAGAIN
    assert int(said[1]) < BOUNDS.pids


def test_threads_count_as_processes(cell: Cell) -> None:
    code = (
        "import threading, time\n"
        "try:\n"
        "    for n in range(400): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n"
        "except RuntimeError: print('bounded', n, flush=True)\n"
        "import os; os._exit(0)"
    )
    done = cell.python(code)
    assert done.output.startswith(b"bounded")
    assert int(done.output.split()[1]) < BOUNDS.pids


def test_one_process_does_not_get_all_memory(cell: Cell) -> None:
    """The memory control group kills (137); without one RLIMIT_AS refuses."""
    done = cell.python("b = bytearray(1 << 20) * 600\nprint('got it')")
    assert b"got it" not in done.output
    assert done.code in {1, 137}


def test_a_bomb_in_an_archive_is_memory_like_any_other(cell: Cell) -> None:
    code = (
        "import zlib\n"
        "packed = zlib.compress(bytes(1 << 20)) \n"
        "data = b''\n"
        "kept = [zlib.decompress(packed) for _ in range(2000)]\n"
        "print('got it')"
    )
    done = cell.python(code, seconds=60)
    assert b"got it" not in done.output
    assert done.code in {1, 137}


def test_many_processes_together_do_not_get_more(cell: Cell, fresh: Callable[..., Cell]) -> None:
    if "memory" in cell.unenforced:
        refused(fresh, "memory")
        return
    program = "import time; b = bytearray(1 << 20) * 100; time.sleep(2); print('got it')"
    done = cell.run(["bash", "-c", f"for i in 1 2 3 4 5 6; do python3 -ISc '{program}' & done; wait"], seconds=60)
    assert done.output.count(b"got it") <= 2


def test_memory_that_no_process_maps_is_counted_too(cell: Cell, fresh: Callable[..., Cell]) -> None:
    """Pages of memfd, tmpfs, pipes and shared memory are charged to who made them."""
    if "memory" in cell.unenforced:
        refused(fresh, "memory")
        return
    code = "import os\nf = os.memfd_create('x')\nfor _ in range(500): os.write(f, bytes(1 << 20))\nprint('got it')"
    done = cell.python(code)
    assert b"got it" not in done.output


QUEUED = """
import socket, sys
kind, held, queued = sys.argv[1], [], 0
try:
    for _ in range(400):
        if kind == "udp":
            there, here = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in "ab")
            there.bind(("127.0.0.1", 0))
        else:
            listener, here = socket.create_server(("127.0.0.1", 0)), socket.socket()
            there = listener
        there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 30)
        here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30)
        here.connect(there.getsockname())
        if kind == "tcp":
            there = listener.accept()[0]
            listener.close()
        here.setblocking(False)
        there.setblocking(False)
        try:
            for _ in range(40): here.send(bytes(60_000))
        except OSError: pass
        held.append((there, here))
except OSError as error: print(error, file=sys.stderr)
for there, here in held:
    here.close()
    try:
        while data := there.recv(1 << 20): queued += len(data)
    except OSError: pass
print(queued >> 20)
"""


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_what_is_queued_on_sockets_is_memory_like_any_other(fresh: Callable[..., Cell], kind: str) -> None:
    """Not in a control group of version 1 by itself: there it has a bound of its own, which is set by us."""
    cell = fresh(memory_mb=64)
    if "sockets" in cell.unenforced:
        refused(fresh, "sockets")
        return
    done = cell.run(["python3", "-ISc", QUEUED, kind], seconds=60)
    assert done.code == 137 or int(done.output) <= 64, done.output


def test_names_in_scratch_directories_are_bounded(cell: Cell) -> None:
    """nr_inodes on Docker; bubblewrap's tmpfs has none, and every inode is memory: the group's bound holds."""
    code = (
        "import os\n"
        "n = 0\n"
        "try:\n"
        "    while n < 70_000: os.close(os.open(f'/tmp/{n}', os.O_CREAT | os.O_WRONLY)); n += 1\n"
        "except OSError as error: print(error.errno, n)\n"
        "else: print('all', n)\n"
        "import shutil\n"
        "for name in os.listdir('/tmp'): os.unlink('/tmp/' + name)"
    )
    done = cell.python(code, seconds=60)
    if cell.mode == "docker":
        assert done.output.startswith(b"28 ")  # ENOSPC
    else:
        assert done.output.startswith((b"28 ", b"all ")) or done.code == 137


QUEUE = "q = ctypes.CDLL(None, use_errno=True)\nq.mq_open(b'/q', 0o102, 0o600, None) < 0 and fail()"
LOCK = (
    "import mmap\nm = mmap.mmap(-1, 1 << 16)\nl = ctypes.CDLL(None, use_errno=True)\n"
    "l.mlock(ctypes.byref(ctypes.c_char.from_buffer(m)), 65536) < 0 and fail()"
)
WATCH = "i = ctypes.CDLL(None, use_errno=True)\nfor _ in range(5000): i.inotify_init() < 0 and fail()"
AIO = (
    "l, x86 = ctypes.CDLL(None, use_errno=True), os.uname().machine == 'x86_64'\n"
    "l.syscall(206 if x86 else 0, 65536, ctypes.byref(ctypes.c_ulong())) < 0 and fail()"
)
FILTER = (
    "import socket, struct\ncode = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0xFFFF))\n"
    "socket.socket(socket.AF_UNIX).setsockopt(1, 26, struct.pack('HP', 1, ctypes.addressof(code)))"
)
LIMITS = {
    "asynchronous I/O, one number for the host": (AIO, {"ENOSYS"}),
    "packet filters, one number for the host": (FILTER, {"EPERM"}),
    "a file of a terabyte": ("os.truncate(os.open('/tmp/big', os.O_CREAT | os.O_RDWR), 1 << 40)", {"EFBIG", "SIGXFSZ"}),
    "message queues": (QUEUE, {"EMFILE"}),
    "locked memory": (LOCK, {"ENOMEM", "EPERM"}),
    "descriptors": ("for _ in range(9999): os.dup(0)", {"EMFILE"}),
    "memory files by huge size": ("os.truncate(os.memfd_create('x'), 1 << 40)", {"EFBIG", "EINVAL", "SIGXFSZ"}),
    "inotify watches": (WATCH, {"EMFILE"}),
}


@pytest.mark.parametrize("name", LIMITS)
def test_what_the_kernel_keeps_for_a_process_is_bounded(cell: Cell, name: str) -> None:
    body, expected = LIMITS[name]
    code = (
        "import ctypes, errno, os, signal\n"
        "def fail(): raise OSError(ctypes.get_errno(), '')\n"
        "try:\n    " + body.replace("\n", "\n    ") + "\nexcept OSError as error: print(errno.errorcode[error.errno])\n"
        "else: print('allowed')"
    )
    done = cell.python(code)
    said = "SIGXFSZ" if done.code == 153 else done.output.decode().strip()
    assert said in expected


def test_waiting_for_input_ends_at_once(cell: Cell) -> None:
    started = clock.monotonic()
    assert cell.run(["cat"]).output == b""
    assert clock.monotonic() - started < 5


def test_what_ignores_every_signal_is_killed_at_its_time(cell: Cell) -> None:
    code = (
        "import os, signal, time\n"
        "for n in range(1, 65):\n"
        "    try: signal.signal(n, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\n"
        "if os.fork() == 0: os.setsid()\n"
        "while True: time.sleep(1)"
    )
    started = clock.monotonic()
    assert cell.python(code, seconds=1).timed_out
    assert clock.monotonic() - started < 6


def test_a_tree_that_is_very_deep_does_not_confuse_anybody(cell: Cell) -> None:
    code = (
        "import os\n"
        "os.chdir('/workspace')\n"
        "for _ in range(2000): os.mkdir('d' * 100); os.chdir('d' * 100)\n"
        "print('made')"
    )
    assert cell.python(code).output == b"made\n"
    assert cell.run(["rm", "-rf", "/workspace/" + "d" * 100]).code == 0


def test_what_a_mode_does_not_hold_is_measured_and_stops_who_requires_it(
    cell: Cell, config: Config, fresh: Callable[..., Cell]
) -> None:
    """Never silently: it is named in the run's facts."""
    missing = set(cell.unenforced)
    assert "disk" in missing  # a plain directory
    if cell.mode != "bubblewrap-user":
        assert missing == {"disk", *engines.engine(cell.mode.split("-", maxsplit=1)[0], config).unenforced()}
    for name in sorted(missing):
        refused(fresh, name)


def refused(fresh: Callable[..., Cell], bound: str) -> None:
    """What cannot be held here is refused before anything starts, where the policy requires it."""
    with pytest.raises(SandboxError, match=bound):
        fresh(require=(bound,))


def test_the_processor_time_of_all_together_is_bounded(fresh: Callable[..., Cell]) -> None:
    cell = fresh()
    if "cpu" in cell.unenforced:
        refused(fresh, "cpu")
        return
    code = (
        "import os, time\n"
        "for _ in range(3): os.fork()\n"
        "end = time.monotonic() + 1\n"
        "while time.monotonic() < end: pass\n"
        "print(time.process_time())"
    )
    used = sum(float(word) for word in cell.python(code).output.split())
    assert used < 1.6


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to mount")
def test_a_bounded_workspace_takes_no_more_bytes_and_no_more_names(
    config: Config, image: Image, fresh: Callable[..., Cell], mode: str
) -> None:
    if mode == "bubblewrap-user":
        refused(fresh, "disk")
        return
    cell = fresh()
    small = cell.top / "small"
    small.mkdir()
    options = "size=8m,nr_inodes=500,nosuid,nodev,uid=10001,gid=10001,mode=755"
    env = {"PATH": os.defpath}
    assert process.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(small)], env=env).ok
    try:
        spec = Spec(image, small, replace(BOUNDS, require=("disk",)), "attack")
        with engines.engine(mode.split("-", maxsplit=1)[0], config).start(spec) as sandbox:
            filled = sandbox.run(["sh", "-c", "head -c 20M /dev/zero >big; rm big; touch $(seq 1000)"], seconds=30)
            assert filled.output.count(b"No space left") >= 2
        assert len(list(Path(small).iterdir())) <= 500
    finally:
        assert process.run(["umount", str(small)], env=env).ok
        shutil.rmtree(small, ignore_errors=True)
