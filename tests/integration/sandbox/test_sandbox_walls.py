from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent_pipeline import process
from agent_pipeline.config import Config
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import (
    bubblewrap,
    cgroups,
    container_mounts,
    docker,
    engines,
    held,
    layout,
    posture,
    seccomp,
    session,
)
from agent_pipeline.sandbox import container as container_of
from agent_pipeline.sandbox.cell import Cell
from agent_pipeline.sandbox.contract import Engine, Image, Sandbox, Spec
from agent_pipeline.sandbox.images import docker_load, unpack

pytestmark = pytest.mark.containers

PROBE = """
import ctypes, errno, json, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(result):
    return "allowed" if result >= 0 else errno.errorcode[ctypes.get_errno()]
def tried(action):
    try:
        action()
        return "allowed"
    except OSError as error:
        return errno.errorcode[error.errno]
def put(path, data):
    os.write(os.open(path, os.O_WRONLY), data)
found = {
    "unshare": call(libc.unshare(0x10000000)),
    "mount": call(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)),
    "umount": call(libc.umount2(b"/tmp", 2)),
    "chroot": call(libc.chroot(b"/tmp")),
    "pivot_root": call(libc.syscall({"x86_64": 155, "aarch64": 41}[os.uname().machine], b"/tmp", b"/tmp")),
    "ptrace": call(libc.ptrace(16, 1, 0, 0)),
    "setns": call(libc.setns(0, 0)),
    "keyctl": call(libc.syscall({"x86_64": 250, "aarch64": 219}[os.uname().machine], 0, -3, 0)),
    "bpf": call(libc.syscall({"x86_64": 321, "aarch64": 280}[os.uname().machine], 0, 0, 0)),
    "perf": call(libc.syscall({"x86_64": 298, "aarch64": 241}[os.uname().machine], 0, 0, -1, -1, 0)),
    "userfaultfd": call(libc.syscall({"x86_64": 323, "aarch64": 282}[os.uname().machine], 0)),
    "io_uring": call(libc.syscall(425, 1, 0)),
    "open_tree": call(libc.syscall(428, -100, b"/", 1)),
    "memfd_secret": call(libc.syscall(447, 0)),
    "sethostname": call(libc.sethostname(b"x", 1)),
    "setuid": call(libc.setuid(0)),
    "mknod": tried(lambda: os.mknod("/workspace/null", 0o20666, os.makedev(1, 3))),
    "core_pattern": tried(lambda: open("/proc/sys/kernel/core_pattern", "w")),
    "sysrq": tried(lambda: open("/proc/sysrq-trigger", "w")),
    "userns": tried(lambda: put("/proc/sys/user/max_user_namespaces", b"99")),
    "uid_map": tried(lambda: put("/proc/self/uid_map", b"0 0 1")),
    "agent memory": tried(lambda: open("/proc/1/mem", "rb")),
    "agent environment": tried(lambda: open("/proc/1/environ", "rb")),
    "agent descriptors": tried(lambda: os.listdir("/proc/1/fd")),
    "agent root": tried(lambda: os.readlink("/proc/1/root")),
    "root": tried(lambda: os.mkdir("/x")),
    "usr": tried(lambda: open("/usr/x", "w")),
    "etc": tried(lambda: open("/etc/passwd", "a")),
    "agent program": tried(lambda: open("/opt/agent-pipeline/frame_agent.py", "a")),
    "connect": tried(lambda: socket.create_connection(("192.0.2.1", 80), 2)),
    "bind": tried(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("192.0.2.1", 53))),
}
families = []
for family in range(46):
    try:
        socket.socket(family, socket.SOCK_DGRAM if family != 40 else socket.SOCK_STREAM).close()
        families.append(family)
    except OSError:
        pass
try:
    socket.getaddrinfo("example.org", 80)
    found["names"] = "allowed"
except OSError as error:
    found["names"] = "refused"
disks = any(os.path.exists(path) for path in ("/dev/sda", "/dev/vda", "/dev/kvm", "/dev/mem"))
print(json.dumps({"found": found, "families": families, "disks": disks}))
"""


def test_escapes_are_refused(sandbox: Sandbox) -> None:
    done = sandbox.run(["python3", "-c", PROBE], seconds=30)
    assert done.code == 0, done.output
    result = json.loads(done.output)
    assert {name for name, answer in result["found"].items() if answer == "allowed"} == set()
    for name in ("unshare", "mount", "ptrace", "setns", "keyctl", "bpf", "perf", "userfaultfd", "io_uring", "mknod"):
        assert result["found"][name] == "EPERM", name
    assert result["found"]["root"] == "EROFS"
    assert set(result["families"]) <= {1, 2, 10, 16}
    assert result["disks"] is False


def test_only_the_scratch_directories_and_the_workspace_can_be_written(sandbox: Sandbox) -> None:
    mounts = "/sys /dev /dev/shm /run /home/agent /tmp /workspace"
    script = f"for d in / {mounts}; do find $d -xdev -type d -writable 2>/dev/null; done"
    found = set(sandbox.run(["sh", "-c", script], seconds=60).output.decode().splitlines())
    kernel = {"/dev/mqueue", "/dev/pts"}  # no file systems that keep anything
    assert found - kernel == {"/dev/shm", "/home/agent", "/run", "/tmp", "/workspace"}


def test_the_hosts_abstract_sockets_are_out_of_reach(sandbox: Sandbox) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        name = f"agent-pipeline-test-{os.getpid()}"
        listener.bind(f"\0{name}")
        listener.listen()
        code = f"import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}')"
        done = sandbox.run(["python3", "-c", code], seconds=20)
    assert b"ConnectionRefusedError" in done.output


def test_processes_of_the_host_are_not_there(sandbox: Sandbox) -> None:
    done = sandbox.run(["sh", "-c", "ls /proc | grep -c '^[0-9]'; cat /proc/1/comm; hostname"], seconds=10)
    count, name, host = done.output.split()
    assert int(count) < 8
    assert (name, host) == (b"python3", b"sandbox")


def test_a_command_cannot_reach_its_own_supervisor(sandbox: Sandbox) -> None:
    script = (
        "for s in HUP INT QUIT ILL ABRT USR1 SEGV USR2 PIPE ALRM TERM STOP TSTP TTIN XFSZ SYS KILL; do kill -$s 1; done"
    )
    forged = "printf 'B12345678\\0\\0\\0\\001\\0\\0\\0\\0010' >/proc/1/fd/1; printf 'B\\0\\0' >/dev/stdout"
    assert sandbox.run(["sh", "-c", f"{script}; {forged}"], seconds=20).output.endswith(b"B\0\0")
    assert sandbox.run(["echo", "still here"], seconds=10).output == b"still here\n"


def test_the_facts_are_true(sandbox: Sandbox, engine: Engine, image: Image) -> None:
    facts = sandbox.facts
    assert facts.backend == engine.name
    assert facts.image == image.identity
    assert facts.seccomp == seccomp.digest()
    assert len(facts.posture) == 64
    assert facts.engine_version[0].isdigit()
    assert facts.runtime
    assert set(engine.unenforced()) - {"disk"} == set(facts.unenforced) - {"disk"}
    assert "disk" in facts.unenforced  # the test's workspace is a plain directory


def test_the_same_walls_have_the_same_digest(start: Callable[..., Sandbox]) -> None:
    assert start().facts.posture == start().facts.posture


def test_a_required_bound_that_is_not_held_starts_nothing(start: Callable[..., Sandbox]) -> None:
    with pytest.raises(SandboxError, match="disk"):
        start(require=("disk",))


def test_bubblewrap_says_that_it_has_no_runtimes(config: Config, spec: Spec) -> None:
    with pytest.raises(SandboxError, match="runsc"):
        engines.engine("bubblewrap", config).start(replace(spec, runtime="runsc"))


def test_a_runtime_that_docker_does_not_have_starts_nothing(config: Config, spec: Spec) -> None:
    with pytest.raises(SandboxError, match="has no runtime no-such-runtime, which the policy") as refused:
        engines.engine("docker", config).start(replace(spec, runtime="no-such-runtime"))
    assert "runc" in str(refused.value.hint)


def test_another_runtime_is_passed_through_and_recorded(config: Config, spec: Spec) -> None:
    with engines.engine("docker", config).start(replace(spec, runtime="io.containerd.runc.v2")) as sandbox:
        assert sandbox.facts.runtime == "io.containerd.runc.v2"
        assert sandbox.run(["echo", "runs"], seconds=10).output == b"runs\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives up its own rights to paths")
def test_a_path_that_the_sandbox_cannot_reach_is_named(config: Config, spec: Spec, folder: Path) -> None:
    folder.chmod(0o700)
    with pytest.raises(SandboxError, match=f"{folder} is closed"):
        engines.engine("bubblewrap", config).start(spec)


WEAKER: dict[str, tuple[list[str], list[str]]] = {
    "the host's network": (["--unshare-all"], ["--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup"]),
    "the host's ipc": (["--unshare-all"], ["--unshare-net", "--unshare-pid", "--unshare-uts", "--unshare-cgroup"]),
    "a variable of the host": ([], ["--setenv", "SECRET", "x"]),
    "another name": (["sandbox"], ["elsewhere"]),
    "another user": (["--uid", "10001"], ["--uid", "0"]),
}


@pytest.mark.parametrize("weakness", WEAKER)
def test_a_weaker_bubblewrap_runs_nothing(config: Config, spec: Spec, weakness: str) -> None:
    env = layout.environment(spec.image)
    arguments = bubblewrap.arguments(unpack.rootfs(config, spec.image), spec, env)
    gone, instead = WEAKER[weakness]
    at = arguments.index(gone[0]) if gone else arguments.index("--clearenv") + 1
    arguments[at : at + len(gone)] = instead
    with pytest.raises(SandboxError, match="not as expected"):
        prove(arguments, spec, bubblewrap.expected(spec, env))


MORE_MOUNTS = {
    "a writable one over another": (["--bind", "{folder}", "/tmp"], "/tmp"),
    "a read-only one": (["--ro-bind", "/etc", "/srv"], "/srv"),
    "a file over one of the image's": (["--ro-bind", "/etc/passwd", "/etc/passwd"], "/etc/passwd"),
    "one of the kernel's": (["--tmpfs", "/mnt", "--remount-ro", "/mnt"], "/mnt"),
    "another device": (["--dev-bind", "/dev/full", "/dev/null"], "/dev/null"),
}


@pytest.mark.parametrize("more", MORE_MOUNTS)
def test_one_more_mount_runs_nothing(config: Config, spec: Spec, folder: Path, more: str) -> None:
    env = layout.environment(spec.image)
    arguments = bubblewrap.arguments(unpack.rootfs(config, spec.image), spec, env)
    at, (wanted, where) = arguments.index("--chdir"), MORE_MOUNTS[more]
    arguments[at:at] = [word.format(folder=folder) for word in wanted]
    with pytest.raises(SandboxError, match=where):
        prove(arguments, spec, bubblewrap.expected(spec, env))


@pytest.mark.parametrize(("named", "processes"), [("address space", 64), ("processes", None)])
def test_a_stand_in_that_is_not_set_runs_nothing(config: Config, spec: Spec, named: str, processes: int | None) -> None:
    env = layout.environment(spec.image)
    arguments = bubblewrap.arguments(unpack.rootfs(config, spec.image), spec, env)
    other = replace(spec, bounds=replace(spec.bounds, memory_mb=spec.bounds.memory_mb + (1 if processes else 0)))
    prove(arguments, spec, bubblewrap.expected(spec, env))
    with pytest.raises(SandboxError, match=named):
        prove(arguments, other, bubblewrap.expected(spec, env), processes=processes)


def prove(arguments: list[str], spec: Spec, expected: posture.Expected, processes: int | None = 64) -> None:
    """Let a sandbox without a control group, where resource limits stand in, prove its walls."""
    cell = Cell(["bwrap", *arguments], spec, None)
    try:
        report = session.greet(cell.link, seconds=20, processes=processes, timeout=20)
        posture.check(report, cell.held(), expected)
    finally:
        cell.end()


@pytest.mark.parametrize("bound", [{"memory_mb": 257}, {"pids": 65}, {"cpus": "1.5"}])
def test_a_control_group_with_another_bound_runs_nothing(
    config: Config, spec: Spec, bound: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cgroups.create
    monkeypatch.setattr(cgroups, "create", lambda name, bounds, found: real(name, replace(bounds, **bound), found))
    with pytest.raises(SandboxError, match="held"):
        engines.engine("bubblewrap", config).start(spec)


HOLDING = cgroups.BOUNDED


def weaken(host: dict[str, Any], name: str, value: object) -> None:
    host[name] = value


WEAKER_CONTAINERS: dict[str, Callable[[dict[str, Any]], None]] = {
    "a capability": lambda c: weaken(c["HostConfig"], "CapAdd", ["NET_RAW"]),
    "the engine's own filter": lambda c: weaken(c["HostConfig"], "SecurityOpt", ["no-new-privileges:true"]),
    "no filter": lambda c: weaken(c["HostConfig"], "SecurityOpt", ["no-new-privileges:true", "seccomp=unconfined"]),
    "new privileges": lambda c: weaken(c["HostConfig"], "SecurityOpt", c["HostConfig"]["SecurityOpt"][1:]),
    "a writable root": lambda c: weaken(c["HostConfig"], "ReadonlyRootfs", False),  # noqa: FBT003 - a JSON value
    "the host's ipc": lambda c: weaken(c["HostConfig"], "IpcMode", "host"),
    "no masks": lambda c: weaken(c["HostConfig"], "MaskedPaths", []),
    "root": lambda c: weaken(c, "User", "0:0"),
    "a variable": lambda c: weaken(c, "Env", ["SECRET=x"]),
    "a read-only mount": lambda c: c["HostConfig"]["Mounts"].append(
        {"Type": "bind", "Source": "/etc", "Target": "/srv", "ReadOnly": True}
    ),
    "a name server": lambda c: weaken(c, "NetworkDisabled", False) or weaken(c["HostConfig"], "Dns", ["192.0.2.1"]),  # noqa: FBT003 - the same
    "the name of another host": lambda c: (
        weaken(c, "NetworkDisabled", False)  # noqa: FBT003 - the same
        or weaken(c["HostConfig"], "ExtraHosts", ["else.where:192.0.2.1"])
    ),
    "more memory": lambda c: (
        weaken(c["HostConfig"], "Memory", 300 << 20) or weaken(c["HostConfig"], "MemorySwap", 300 << 20)
    ),
    "swap": lambda c: weaken(c["HostConfig"], "MemorySwap", 300 << 20),
    "more processes": lambda c: weaken(c["HostConfig"], "PidsLimit", 4096),
    "more processors": lambda c: weaken(c["HostConfig"], "NanoCpus", 2_000_000_000),
}


SAID = {
    "a read-only mount": "/srv is a mount",
    "a name server": "name servers: 192.0.2.1",
    "the name of another host": "names of other hosts: else.where",
    "more memory": "held.memory",
    "swap": "held.swap",
    "more processes": "held.pids",
    "more processors": "held.cpu",
}


@pytest.mark.parametrize("weakness", WEAKER_CONTAINERS)
def test_a_weaker_container_runs_nothing(config: Config, spec: Spec, weakness: str) -> None:
    engine = docker.Docker(config)
    sdk = container_of.connect(30)
    container = container_of.Container(sdk.api, f"agent-pipeline-test-{os.urandom(4).hex()}", spec)
    configuration = docker._configuration(
        sdk.api, container.name, spec, docker_load.ensure(sdk, spec.image), container_of.bound(spec)
    )
    WEAKER_CONTAINERS[weakness](configuration)
    try:
        container.start(configuration)
        report = session.greet(container.link, seconds=20, processes=None, timeout=20)
        mounts = {
            **container_mounts.expected(engine._cgroup_version, container.kernel()),
            "/workspace": container_mounts.NEAR,
        }
        bounds = held.expected(spec.bounds, HOLDING, held.KERNEL)
        assert container.bound_sockets() or engine._cgroup_version != 1
        with pytest.raises(SandboxError, match=SAID.get(weakness, "not as expected")):
            posture.check(
                report,
                container.held(HOLDING),
                docker.expected(spec, layout.environment(spec.image), mounts, bounds),
            )
    finally:
        container.end()
        sdk.close()


def first_version() -> bool:
    return any(found.version == 1 and "memory" in found.controllers for found in cgroups.hierarchies())


@pytest.mark.skipif(not first_version(), reason="version 2 counts sockets as memory")
def test_sockets_that_nobody_bounded_after_all_run_nothing(
    config: Config, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "bound_sockets", lambda *_: True)
    with pytest.raises(SandboxError, match=r"held\.sockets"):
        docker.Docker(config).start(spec)


@pytest.mark.skipif(not first_version(), reason="version 2 counts sockets as memory")
def test_sockets_of_an_engine_out_of_reach_are_said_and_refused_where_required(
    config: Config, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "bound_sockets", lambda *_: False)
    engine = docker.Docker(config)
    with pytest.raises(SandboxError, match="requires enforced bounds on sockets"):
        engine.start(replace(spec, bounds=replace(spec.bounds, require=("sockets",))))
    assert cgroups.SOCKETS in engine.unenforced()
    with engine.start(spec) as sandbox:
        assert cgroups.SOCKETS in sandbox.facts.unenforced


@pytest.mark.parametrize(
    ("elsewhere", "memory", "counted", "lost"),
    [(False, True, True, False), (True, True, True, True), (False, True, False, True), (False, False, True, True)],
)
def test_in_version_2_sockets_are_held_where_it_shows(
    config: Config, monkeypatch: pytest.MonkeyPatch, *, elsewhere: bool, memory: bool, counted: bool, lost: bool
) -> None:
    """What an engine says that has that version; the rest is as it is here."""
    engine = docker.Docker(config)
    engine._info = {**engine._info, "CgroupVersion": "2", "MemoryLimit": memory}
    engine._elsewhere = elsewhere
    monkeypatch.setattr(cgroups, "sockets_are_memory", lambda: counted)
    assert (cgroups.SOCKETS in engine.unenforced()) == lost
    assert any(line.startswith("sockets: not held, nothing shows") for line in engine.explain()) == lost


def test_what_this_host_holds_is_measured_and_not_assumed(engine: Engine) -> None:
    held = set(cgroups.enforceable(cgroups.label("test"), cgroups.hierarchies()))
    missing = set(engine.unenforced()) - {"disk"}
    assert missing <= set(cgroups.BOUNDED)
    assert engine.name == "docker" or missing == set(cgroups.missing(tuple(held)))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a bounded workspace")
def test_on_a_bounded_workspace_every_bound_can_be_required(engine: Engine, spec: Spec, workspace: Path) -> None:
    options = f"size=64m,nosuid,nodev,uid={layout.owner()},gid={layout.group()},mode=755"
    mounted = process.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(workspace)], env={"PATH": os.defpath})
    assert mounted.ok, mounted.explain()
    try:
        bounds = replace(spec.bounds, require=(*cgroups.BOUNDED, "disk"))
        with engine.start(replace(spec, bounds=bounds)) as sandbox:
            assert sandbox.facts.unenforced == ()
            done = sandbox.run(["dd", "if=/dev/zero", "of=big", "bs=1M", "count=100"], seconds=30)
            assert b"No space left" in done.output
            with pytest.raises(ValueError, match="no space"):
                sandbox.write("more", b"x" * 100_000)
            assert sandbox.listing(".") == ("big",)
    finally:
        assert process.run(["umount", str(workspace)], env={"PATH": os.defpath}).ok
