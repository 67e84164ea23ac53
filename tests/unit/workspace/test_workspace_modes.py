"""Where no overlay can be had, the full copy is chosen by itself, says so, and claims no bound that is not there."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.gitrepos import Project, make_project

from agent_pipeline import clock, process
from agent_pipeline.errors import StorageError
from agent_pipeline.workspace import bounds, create

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root takes rights away here that nobody else has")

CHILD = f"""
import json, os, sys
sys.path.insert(0, {str(Path.cwd())!r})
from pathlib import Path
import pygit2
from agent_pipeline.repository.clone import Clone
from agent_pipeline.workspace import create, harvest
pygit2.option(pygit2.enums.Option.SET_OWNER_VALIDATION, 0)
project, tree, folder, reach = sys.argv[1:]
clone, folder = Clone.discover(Path(project)), Path(folder)
with create(clone, tree, may_read=lambda p: p != "secret", scope="s", lowers=folder / "lowers", parent=folder / "runs",
            disk_mb=1, uid=10001, reach=reach) as copy:
    (copy.path / "a").write_bytes(b"2")
    (copy.path / "b/c").unlink()
    found = harvest(clone, copy, ignore=[], max_bytes=100, max_files=10)
    said = [copy.mode, copy.bounded, copy.namespace is not None, list(found.puts), list(found.deletes), copy.withheld]
print(json.dumps([*said, os.listdir(folder / "runs"), (folder / "lowers").exists() and os.listdir(folder / "lowers")]))
"""
FOUND = [["a"], ["b/c"], ["secret"], []]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for parent in (tmp_path, *tmp_path.parents):
        if Path(tempfile.gettempdir()) in parent.parents:
            parent.chmod(0o755)
    return tmp_path


@pytest.fixture
def project(folder: Path) -> Project:
    return make_project(folder / "p", {"a": b"1", "b/c": b"2", "secret": b"s"})


def told(project: Project, place: Path, reach: str, *how: str, python: str = sys.executable) -> list[object]:
    tree = project.git("rev-parse", "HEAD^{tree}")
    argv = [*how, python, "-c", CHILD, str(project.folder), tree, str(place), reach]
    packages = os.pathsep.join(path for path in sys.path if path)
    done = process.run(argv, env={"PATH": os.environ["PATH"], "PYTHONPATH": packages})
    assert done.ok, done.explain()
    said: list[object] = json.loads(done.stdout)
    return said


@pytest.fixture
def anybody(folder: Path) -> tuple[Path, list[str], str]:
    """A directory of somebody who is not root, how to become that one, and an interpreter for them."""
    place = folder / "theirs"
    place.mkdir()
    os.chown(place, 12345, 12345)
    drop = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
    for candidate in (sys.executable, "/usr/bin/python3"):
        if process.run([*drop, "sh", "-c", 'exec "$0" -c ""', candidate], env={"PATH": os.environ["PATH"]}).ok:
            return place, drop, candidate
    pytest.fail("no interpreter that another user may execute")


def test_root_has_an_overlay(project: Project, folder: Path) -> None:
    said = told(project, folder / "place", "host")
    assert said[:7] == ["overlay", True, False, *FOUND]


def test_root_that_may_not_mount_has_a_full_copy_without_bound(project: Project, folder: Path) -> None:
    """As in a container without the right to mount. No large tree is written for an overlay that cannot be."""
    limited = ["setpriv", "--inh-caps=-sys_admin", "--bounding-set=-sys_admin"]
    assert told(project, folder / "place", "host", *limited) == ["copy", False, False, *FOUND, []]


def test_an_engine_that_takes_files_only_has_a_full_copy(project: Project, folder: Path) -> None:
    assert told(project, folder / "place", "copy") == ["copy", True, False, *FOUND, False]


def test_without_privileges_the_engine_must_enter_a_namespace(
    project: Project, anybody: tuple[Path, list[str], str]
) -> None:
    place, drop, python = anybody
    assert told(project, place, "host", *drop, python=python) == ["copy", False, False, *FOUND, False]
    assert told(project, place, "namespace", *drop, python=python)[:7] == ["overlay", True, True, *FOUND]


def test_what_holds_for_roots_overlay_holds_for_an_ordinary_users(anybody: tuple[Path, list[str], str]) -> None:
    """The same tests, the comparison of both ways to harvest among them, on the overlay with marks of its own."""
    place, drop, python = anybody
    file = Path(__file__).with_name("test_workspace_overlay.py")
    argv = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={place / 'tests'}", str(file)]
    env = {"PATH": os.environ["PATH"], "HOME": str(place), "TMPDIR": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    env |= {"HYPOTHESIS_STORAGE_DIRECTORY": str(place / "examples")}
    done = process.run([*drop, *argv], env=env, timeout=600)
    assert done.ok, done.explain()
    assert b"passed" in done.stdout
    assert b"skipped" not in done.stdout


def test_without_namespaces_there_is_a_full_copy(project: Project, anybody: tuple[Path, list[str], str]) -> None:
    """As on a host that gives users no namespaces: here, below one in which no further one may be made."""
    place, drop, python = anybody
    closed = ["bwrap", "--unshare-user", "--disable-userns", "--uid", "12345", "--gid", "12345"]
    rooms = ["--bind", "/", "/", "--dev-bind", "/dev", "/dev", "--proc", "/proc", "--"]
    said = told(project, place, "namespace", *drop, *closed, *rooms, python=python)
    assert said == ["copy", False, False, *FOUND, []]


@pytest.fixture
def stacked(folder: Path) -> Iterator[Path]:
    """A directory on as many overlays as the kernel takes: nothing there can be the lower of another."""
    with ExitStack() as stack:
        lower = folder / "plain"
        lower.mkdir()
        for number in range(2):
            space, merged = folder / f"space{number}", folder / f"merged{number}"
            for path in (space, merged):
                path.mkdir()
            assert bounds.mount(space, 8)
            stack.callback(bounds.unmount, space)
            for name in (bounds.UPPER, bounds.WORK):
                (space / name).mkdir()
            assert bounds.overlay(lower, space, merged)
            stack.callback(bounds.unmount, merged)
            lower = merged
        yield lower


def test_a_file_system_that_carries_no_overlay(project: Project, folder: Path, stacked: Path) -> None:
    with create(
        project.clone, project.git("rev-parse", "HEAD^{tree}"), may_read=lambda _: True, scope="s",
        lowers=stacked / "lowers", parent=folder / "runs", disk_mb=1, uid=10001,
    ) as copy:  # fmt: skip
        assert (copy.mode, copy.bounded) == ("copy", True)
        assert (copy.path / "a").read_bytes() == b"1"
    assert list((folder / "runs").iterdir()) == []


def test_a_cache_that_cannot_be_made(project: Project, folder: Path) -> None:
    (folder / "file").touch()
    with (
        pytest.raises(StorageError, match="cannot be made"),
        create(
            project.clone, project.git("rev-parse", "HEAD^{tree}"), may_read=lambda _: True, scope="s",
            lowers=folder / "file" / "lowers", parent=folder / "runs", disk_mb=1, uid=10001,
        ),
    ):  # fmt: skip
        pass
    assert list((folder / "runs").iterdir()) == []


def test_a_namespace_ends_with_who_made_it(project: Project, anybody: tuple[Path, list[str], str]) -> None:
    """Even by `kill -9`: no process, no directory; its mounts were never the host's."""
    place, drop, python = anybody
    script = CHILD.replace(
        "(copy.path /", "print(copy.namespace, flush=True); import time; time.sleep(60); (copy.path /", 1
    )
    tree = project.git("rev-parse", "HEAD^{tree}")
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    argv = [*drop, python, "-c", script, str(project.folder), tree, str(place), "namespace"]
    child = process.spawn(argv, env=env)
    assert child.stdin is not None
    assert child.stdout is not None
    holder = int(child.stdout.readline())
    (copy,) = (path for path in (place / "runs").iterdir() if path.is_dir())
    assert not list((copy / "files").iterdir())  # on the host; in the namespace it is full
    assert (Path(f"/proc/{holder}/root") / (copy / "files/a").relative_to("/")).read_bytes() == b"1"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdin.close()
    child.stdout.close()
    until = clock.monotonic() + 5
    while list((place / "runs").iterdir()) or Path(f"/proc/{holder}/root/tmp").exists():
        assert clock.monotonic() < until
        clock.sleep(0.02)
