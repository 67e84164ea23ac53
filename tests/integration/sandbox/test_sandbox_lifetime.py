"""However it ends, nothing is left: no container, process, control group, intent or lock."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from agent_pipeline import clock, process
from agent_pipeline.config import Config
from agent_pipeline.documents.provenance import SandboxFacts
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import bubblewrap, cgroups, engines, layout, pipes
from agent_pipeline.sandbox import container as container_of
from agent_pipeline.sandbox.cell import Cell
from agent_pipeline.sandbox.contract import Engine, Image, Sandbox, Spec
from agent_pipeline.sandbox.images import docker_load, unpack
from agent_pipeline.sandbox.session import Session, greet

pytestmark = pytest.mark.containers
FACTS = SandboxFacts("bubblewrap", "0.8.0", "bwrap", "0" * 64, "0" * 64, "0" * 64, (), "copy")

OTHER = 54_321  # an ordinary user's number
CHILD = """
import sys
from pathlib import Path
from agent_pipeline import config, interrupts
from agent_pipeline.sandbox import container as container_of
from agent_pipeline.sandbox import engines
from agent_pipeline.sandbox.contract import Bounds, Image, Spec
engine, name, identity, folder, workspace, run, how = sys.argv[1:]
bounds = Bounds(256, 64, "0.2" if how == "busy" else "1", 64, 120)
spec = Spec(Image(name, identity, Path(folder)), Path(workspace), bounds, run)
one = engines.engine(engine, config.load())
if how == "warm":
    one.start(spec).close()  # what is found out once is known then: the next start is nothing but a start
print("begun", flush=True)
with interrupts.heard():
    try:
        with one.start(spec) as sandbox:
            print("ready", sandbox.facts.unenforced, flush=True)
            mark = f"77.{int(run[-8:], 16)}"
            if how == "busy":
                code = f"mark = 'sleep {mark}'\\nimport os\\nfor _ in range(5): os.fork()\\nwhile True: pass"
                sandbox.run(["python3", "-c", code], seconds=100)
            sandbox.run(["sh", "-c", f"(setsid sleep {mark} &); trap '' TERM; sleep {mark}"], seconds=100)
    except KeyboardInterrupt:
        sys.exit(130)
"""


class Supervisor:
    """A process of its own that starts a sandbox and then waits in a command."""

    def __init__(self, engine: str, image: Image, workspace: Path, *, uid: int | None = None, how: str = "") -> None:
        self.run, self.workspace = f"test-{os.urandom(4).hex()}", workspace
        argv = [
            _python(uid),
            "-c",
            CHILD,
            engine,
            image.name,
            image.identity,
            str(image.folder),
            str(workspace),
            self.run,
            how,
        ]
        if uid is not None:
            argv = ["setpriv", f"--reuid={uid}", f"--regid={uid}", f"--groups={uid},4,100", "--no-new-privs", *argv]
        env = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        env |= process.inherited("PATH", "HOME", "AGENT_PIPELINE_CACHE", "DOCKER_HOST")
        if uid is not None:
            env |= {"AGENT_PIPELINE_CACHE": str(workspace.parent / "cache"), "HOME": "/nonexistent"}
        self.runs = Path(env["AGENT_PIPELINE_CACHE"]) / "runs" if uid is not None else None
        self.child = process.spawn(argv, env=env, stderr=True)
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        assert line == b"begun\n", (line, self.said())

    def said(self) -> bytes:
        assert self.child.stderr is not None
        os.set_blocking(self.child.stderr.fileno(), False)
        return self.child.stderr.read() or b""

    def ready(self) -> bytes:
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        assert line.startswith(b"ready"), (line, self.said())
        return line

    def end(self, number: signal.Signals) -> int:
        os.kill(self.child.pid, number)
        code = self.child.wait(timeout=20)
        self.complaint = self.said()
        for pipe in (self.child.stdin, self.child.stdout, self.child.stderr):
            assert pipe is not None
            pipe.close()
        return code


def _python(uid: int | None) -> str:
    """An interpreter that this user may execute: ours may lie below root's home."""
    if uid is None:
        return sys.executable
    for candidate in (sys.executable, "/usr/bin/python3"):
        tried = process.run(["setpriv", f"--reuid={uid}", "--clear-groups", candidate, "-c", ""], env={}, timeout=20)
        if tried.ok:
            return candidate
    pytest.fail("no interpreter that another user may execute")


def left(run: str, workspace: Path | None = None) -> list[str]:
    """Everything on this host that names the run or has the workspace, or that only its workload would be."""
    found, mark = [], f"77.{int(run[-8:], 16)}"
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if run in line and "setpriv --reuid" not in line[:20] and " -c \nimport sys" not in line:
            found.append(line[:200])
        elif f"sleep {mark}" in line or (workspace is not None and f"--bind {workspace} /workspace" in line):
            found.append(line)
    for hierarchy in cgroups.hierarchies():
        for folder, names, _ in os.walk(hierarchy.mount):  # which takes it that others' groups vanish meanwhile
            found += [f"{folder}/{name}" for name in names if name.startswith(f"{cgroups.PREFIX}{run}")]
    listed = process.run(
        ["docker", "ps", "--all", "--quiet", "--filter", f"label=agent-pipeline.run={run}"],
        env=process.inherited("PATH", "DOCKER_HOST"),
    )
    assert listed.ok, listed.explain()
    return found + listed.stdout.decode().split()


def intents_left(runs: Path, run: str) -> list[Path]:
    return [path for path in runs.glob("*.intent*") if run in path.read_text()] if runs.is_dir() else []


def assert_nothing_left(run: str, runs: Path, workspace: Path | None = None) -> None:
    until = clock.monotonic() + 5
    while (left(run, workspace) or intents_left(runs, run)) and clock.monotonic() < until:
        clock.sleep(0.05)
    assert left(run, workspace) == []
    assert intents_left(runs, run) == []


def first_process(run: str) -> Path:
    """The directory in /proc of the container's PID 1."""
    sdk = container_of.connect(30)
    with contextlib.closing(sdk):
        (found,) = sdk.containers.list(filters={"label": f"agent-pipeline.run={run}"})
        return Path(f"/proc/{found.attrs['State']['Pid']}")


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's descriptors take root to look at")
def test_frames_go_past_the_engine_by_pipes_that_nothing_names(config: Config, spec: Spec) -> None:
    """Pipes that are open at both ends and have no name, in the sandbox's PID 1; commands get none of them."""
    run = f"test-{os.urandom(4).hex()}"
    with engines.engine("docker", config).start(replace(spec, run=run)) as sandbox:
        opened = [str(path.readlink()) for path in first_process(run).glob("fd/*")]
        mine = [path for path in opened if path.startswith("/workspace/")]
        assert len(mine) == 2
        assert all(path.endswith(" (deleted)") for path in mine)
        assert list(spec.workspace.iterdir()) == []
        assert sandbox.run(["sh", "-c", "echo /proc/self/fd/*"], seconds=10).output.split()[:-1] == [
            b"/proc/self/fd/0",
            b"/proc/self/fd/1",
            b"/proc/self/fd/2",
        ]


@pytest.mark.parametrize("busy", [False, True])
def test_the_attached_stdin_is_the_lifeline_whatever_frames_go_by(config: Config, spec: Spec, *, busy: bool) -> None:
    """The engine's end of the stream is closed, and the pipes are not: PID 1 ends all the same, in a command too."""
    command = ["bwrap", *bubblewrap.arguments(unpack.rootfs(config, spec.image), spec, layout.environment(spec.image))]
    cell = Cell(command, spec, None)
    try:
        greet(cell.link, seconds=60, processes=None, timeout=20)
        link = pipes.shorter(cell.link, spec.workspace)
        assert link is not cell.link
        session = Session(link, FACTS, layout.environment(spec.image), lambda: None)
        assert session.run(["echo", "there"], seconds=10).output == b"there\n"
        threading.Timer(0.3 if busy else 0, cell.link.close).start()
        started = clock.monotonic()
        with pytest.raises(SandboxError, match="gone"):
            session.run(["sleep", "30"], seconds=40)
        assert clock.monotonic() - started < 5
        session.close()
    finally:
        cell.end()


@pytest.mark.parametrize("name", engines.NAMES)
def test_killing_the_supervisor_in_a_command_leaves_nothing(
    name: str, config: Config, image: Image, workspace: Path
) -> None:
    supervisor = Supervisor(name, image, workspace)
    supervisor.ready()
    clock.sleep(0.2)
    assert left(supervisor.run) != []
    supervisor.end(signal.SIGKILL)
    assert_nothing_left(supervisor.run, config.runs, supervisor.workspace)


@pytest.mark.parametrize("name", engines.NAMES)
def test_killing_the_supervisor_of_a_busy_sandbox_leaves_nothing(
    name: str, config: Config, image: Image, workspace: Path
) -> None:
    """Thirty-two processes want a fifth of a processor, and PID 1 must get some of it to end."""
    supervisor = Supervisor(name, image, workspace, how="busy")
    supervisor.ready()
    clock.sleep(2)
    assert len(left(supervisor.run, supervisor.workspace)) > 30
    supervisor.end(signal.SIGKILL)
    assert_nothing_left(supervisor.run, config.runs, supervisor.workspace)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", engines.NAMES)
def test_an_end_at_any_moment_of_the_start_leaves_nothing(
    name: str, number: signal.Signals, config: Config, image: Image, workspace: Path
) -> None:
    moments = random.Random(name + number.name)  # noqa: S311 - the same moments each time
    for _ in range(4):
        supervisor = Supervisor(name, image, workspace)
        clock.sleep(moments.random() * (0.35 if name == "docker" else 0.1))
        code = supervisor.end(number)
        assert code in {130, -number, 0}, supervisor.complaint
        assert_nothing_left(supervisor.run, config.runs, supervisor.workspace)


@pytest.mark.parametrize("uid", [None, pytest.param(OTHER, marks=pytest.mark.skipif(os.geteuid() != 0, reason="root"))])
def test_killed_while_bubblewrap_makes_its_namespaces_it_leaves_no_child(
    uid: int | None, config: Config, folder: Path, image: Image, workspace: Path
) -> None:
    """The moment in which bubblewrap reports to nobody, dies of it, and its child waits for it for ever."""
    if uid is not None:
        of_another(uid, config, folder, image, workspace)
    for moment in (9, 12, 14, 16, 18):
        supervisor = Supervisor("bubblewrap", image, workspace, uid=uid, how="warm")
        clock.sleep(moment / 1000)
        supervisor.end(signal.SIGKILL)
        assert_nothing_left(supervisor.run, supervisor.runs or config.runs, supervisor.workspace)


def test_an_interrupt_ends_as_an_interrupt(engine: Engine, config: Config, image: Image, workspace: Path) -> None:
    supervisor = Supervisor(engine.name, image, workspace)
    supervisor.ready()
    assert supervisor.end(signal.SIGINT) == 130
    assert_nothing_left(supervisor.run, config.runs, supervisor.workspace)


def of_another(uid: int, config: Config, folder: Path, image: Image, workspace: Path) -> None:
    """Give another user the workspace and a cache, with the image that is unpacked once and readable by everybody."""
    os.chown(workspace, uid, uid)
    cache = folder / "cache"
    cache.mkdir()
    (cache / "rootfs").symlink_to(unpack.rootfs(config, image).parent)
    os.chown(cache, uid, uid)


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to become somebody else")
def test_without_privileges_bubblewrap_works_and_leaves_nothing(
    config: Config, folder: Path, image: Image, workspace: Path
) -> None:
    of_another(OTHER, config, folder, image, workspace)
    supervisor = Supervisor("bubblewrap", image, workspace, uid=OTHER)
    assert b"memory" in supervisor.ready()  # no delegated control group here, and it says so
    clock.sleep(0.2)
    supervisor.end(signal.SIGKILL)
    assert supervisor.runs is not None
    assert_nothing_left(supervisor.run, supervisor.runs, supervisor.workspace)


def test_a_sandbox_outlives_the_thread_that_asked_for_it(engine: Engine, spec: Spec) -> None:
    started: list[Sandbox] = []
    thread = threading.Thread(target=lambda: started.append(engine.start(spec)))
    thread.start()
    thread.join()
    with started[0] as sandbox:
        clock.sleep(0.3)
        assert sandbox.run(["echo", "alive"], seconds=10).output == b"alive\n"


def test_two_run_side_by_side_and_do_not_see_each_other(engine: Engine, spec: Spec) -> None:
    with engine.start(spec) as one, engine.start(spec) as other:
        other.run(["touch", "/tmp/mine"], seconds=10)
        assert one.listing("/tmp") == ()
        one.close()
        assert other.run(["echo", "alive"], seconds=10).output == b"alive\n"


def test_a_start_that_fails_leaves_nothing(engine: Engine, spec: Spec, config: Config) -> None:
    gone = Spec(spec.image, spec.workspace / "missing", spec.bounds, "test-missing-00000000")
    with pytest.raises(Exception, match=r"missing"):
        engine.start(gone)
    assert_nothing_left("test-missing-00000000", config.runs)


def test_a_container_that_the_engine_makes_for_the_dead_is_removed_too(image: Image) -> None:
    sdk = container_of.connect(30)
    name = f"agent-pipeline-test-{os.urandom(4).hex()}"
    configuration = {"Image": docker_load.ensure(sdk, image), "Cmd": ["true"]}
    late = threading.Timer(0.7, sdk.api.create_container_from_config, (configuration, name))
    late.start()
    container_of.remove(name)
    late.join()
    assert not container_of.there(sdk, name)
    sdk.close()
