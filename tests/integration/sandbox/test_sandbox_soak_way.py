"""Kill the whole of it at any moment: copy, sandbox, harvest, and the command for people. Nothing may be left."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.desks import Desk, initialised, running
from support.gitrepos import Project, make_project
from support.leftovers import leftovers
from support.people import FIX
from test_sandbox_lifetime import left

from agent_pipeline import clock, process
from agent_pipeline.config import Config
from agent_pipeline.sandbox import engines
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images import unpack

pytestmark = [pytest.mark.containers, pytest.mark.soak]

KILLS, WAYS = 50, 20
OTHER = 54_321  # an ordinary user's number
# Twice: the first makes the tree's own directory in the cache, the second uses it.
CHILD = """
import sys
from pathlib import Path
import pygit2
from agent_pipeline import config
from agent_pipeline.repository.clone import Clone
from agent_pipeline.sandbox import engines
from agent_pipeline.sandbox.contract import UID, Bounds, Image, Spec
from agent_pipeline.workspace import create, harvest
pygit2.option(pygit2.enums.Option.SET_OWNER_VALIDATION, 0)
engine, name, identity, image, project, run = sys.argv[1:]
settings, clone = config.load(), Clone.discover(Path(project))
box, tree = engines.engine(engine, settings), clone.tree(clone.commit("HEAD"))
assert box.available() is None, box.available()
print("begun", flush=True)
for _ in range(2):
    with create(clone, tree, may_read=lambda path: True, scope=run, lowers=settings.lowers, parent=settings.runs,
                disk_mb=16, uid=UID, reach=box.reach) as copy:
        assert copy.mode == "overlay"
        spec = Spec(Image(name, identity, Path(image)), copy.path, Bounds(256, 64, "1", 16, 60), run,
                    namespace=copy.namespace)
        mark = f"77.{int(run[-8:], 16)}"
        with box.start(spec) as sandbox:
            sandbox.run(["sh", "-c", f"(setsid sleep {mark} &); echo 2 >>file; sleep 0.05"], seconds=20)
        found = harvest(clone, copy, ignore=[], max_bytes=1 << 20, max_files=100)
        assert list(found.puts) == ["file"], found
print("done", flush=True)
"""


class Whole:
    """A process of its own that makes a copy, works in a sandbox on it and harvests, twice."""

    def __init__(self, engine: str, image: Image, project: Project, uid: int | None) -> None:
        self.run = f"test-{os.urandom(4).hex()}"
        top = project.folder.parent
        argv = [
            interpreter(uid),
            "-c",
            CHILD,
            engine,
            image.name,
            image.identity,
            str(image.folder),
            str(project.folder),
        ]
        drop = (
            [] if uid is None else ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs"]
        )
        env = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "HOME": "/nonexistent"}
        env |= {"AGENT_PIPELINE_CACHE": str(top / "cache")} | process.inherited("PATH", "DOCKER_HOST")
        self.child = process.spawn([*drop, *argv, self.run], env=env, stderr=True)
        assert self.line() == b"begun\n", self.complaint()

    def line(self) -> bytes:
        assert self.child.stdout is not None
        return self.child.stdout.readline()

    def complaint(self) -> bytes:
        assert self.child.stderr is not None
        return self.child.stderr.read()

    def end(self) -> None:
        os.kill(self.child.pid, signal.SIGKILL)
        self.child.wait(timeout=20)
        for pipe in (self.child.stdin, self.child.stdout, self.child.stderr):
            assert pipe is not None
            pipe.close()


def interpreter(uid: int | None) -> str:
    """An interpreter that this user may start again by themselves, as the sweeper does: ours may lie in root's home."""
    if uid is None:
        return sys.executable
    drop = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    for candidate in (sys.executable, "/usr/bin/python3"):
        if process.run([*drop, "sh", "-c", 'exec "$0" -c ""', candidate], env=process.inherited("PATH")).ok:
            return candidate
    pytest.fail("no interpreter that another user may execute")


def place(config: Config, folder: Path, image: Image, uid: int | None) -> Project:
    """A project, and beside it a cache of that user's with the image that is unpacked once for everybody."""
    cache = folder / "cache"
    cache.mkdir()
    (cache / "rootfs").symlink_to(unpack.rootfs(config, image).parent)
    (cache / "images").symlink_to(config.cache_dir / "images")
    if uid is not None:
        os.chown(cache, uid, uid)
    return make_project(folder / "project", {"file": b"1\n", **{f"d/{n}": b"x\n" for n in range(100)}})


def all_left(top: Path, run: str) -> list[str]:
    """What is left below `top`, in five seconds at most, and of the run anywhere else."""
    until = clock.monotonic() + 5
    while (found := [*leftovers(top), *left(run)]) and clock.monotonic() < until:
        clock.sleep(0.05)
    return found


@pytest.mark.parametrize(
    ("engine", "uid"),
    [
        pytest.param(
            "docker", None, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts its overlay")
        ),
        pytest.param("bubblewrap", None, marks=pytest.mark.skipif(os.geteuid() != 0, reason="as the next, else")),
        pytest.param("bubblewrap", OTHER, marks=pytest.mark.skipif(os.geteuid() != 0, reason="root becomes others")),
    ],
)
def test_kills_at_any_moment_of_a_copy_a_run_and_a_harvest(
    engine: str, uid: int | None, config: Config, folder: Path, image: Image
) -> None:
    project = place(config, folder, image, uid)
    whole = Whole(engine, image, project, uid)
    started = clock.monotonic()
    assert whole.line() == b"done\n", whole.complaint()
    lasts = clock.monotonic() - started
    whole.end()
    assert all_left(folder, whole.run) == []
    moments = random.Random()  # noqa: S311 - other moments each time
    for number in range(KILLS):
        whole = Whole(engine, image, project, uid)
        moment = moments.random() * lasts
        clock.sleep(moment)
        whole.end()
        assert all_left(folder, whole.run) == [], f"kill {number}, after {moment:.4f} of {lasts:.4f} s"
    whole = Whole(engine, image, project, uid)
    assert whole.line() == b"done\n", whole.complaint()
    whole.end()
    assert [path.name for path in (folder / "cache" / "lowers").glob(".making-*")] == []  # swept by the next maker


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with initialised() as restored:
        yield restored()


def left_of(desk: Desk) -> list[str]:
    """What is left in five seconds at most, but for what nobody holds and nothing hinders.

    That is the dead run's lease, which the next who asks for that run forgets, and Git's own among the temporary files,
    which the next command removes.
    """
    harmless = tuple(
        f"file {desk.top}/{name}" for name in ("home/state/agent-pipeline/running/", "tmp/agent-pipeline-check-")
    )
    until = clock.monotonic() + 5
    while found := [line for line in desk.left() if not line.startswith(harmless)]:
        if clock.monotonic() > until:
            break
        clock.sleep(0.05)
    return found


@pytest.mark.parametrize("engine", engines.NAMES)
def test_kills_of_a_whole_request(desk: Desk, engine: str) -> None:
    argv = ("request", "mean([]) should be 0.0", "--engine", "command", "--sandbox", engine, "--", "python", "-c", FIX)
    started = clock.monotonic()
    assert desk.run(*argv).code == 0
    lasts = clock.monotonic() - started
    moments = random.Random()  # noqa: S311 - other moments each time
    for number in range(WAYS):
        moment = moments.random() * lasts
        with running(desk, *argv) as request:
            clock.sleep(moment)
            request.process.kill()
            request.process.wait()
        assert left_of(desk) == [], f"kill {number}, after {moment:.3f} of {lasts:.3f} s"
    for row in desk.run("list").document["requests"]:
        desk.run("stop", row["id"])  # which forgets a dead run's lease
    assert desk.run(*argv).code == 0
    assert desk.left() == []
