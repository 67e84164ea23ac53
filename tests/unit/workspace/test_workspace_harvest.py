"""Harvesting is a full comparison that hostile files can neither mislead nor exhaust."""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.gitrepos import Project, make_project

from agent_pipeline.errors import PathError, PolicyError
from agent_pipeline.repository import trees
from agent_pipeline.repository.trees import EXECUTABLE, FILE, Put
from agent_pipeline.workspace import Harvest, Workspace, bounds, create, harvest
from agent_pipeline.workspace.copy import Reach

BASE = {
    "README": b"hello\n",
    "src/app/main.py": b"print()\n",
    "src/app/util.py": b"x = 1\n",
    "docs/a.md": b"# a\n",
    "build/tracked.o": b"o",
    "secret/key": b"k",
    ".gitignore": b"*.log\nbuild/\n!keep.log\n",
    "docs/.gitignore": b"/out\n!special.log\n",
}
Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = make_project(tmp_path_factory.mktemp("harvest") / "p", BASE)
    (made.folder / "link").symlink_to("src/app")
    made.git("add", "--force", "--all")
    made.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},vendor/lib")
    made.git("commit", "--quiet", "-m", "link and submodule")
    return made


@pytest.fixture(params=["host", "copy"])
def reach(request: pytest.FixtureRequest) -> Reach:
    """Both ways to make a copy, as root; the second alone as anybody else."""
    return cast("Reach", request.param)


@pytest.fixture
def copy(project: Project, tmp_path: Path, reach: Reach) -> Iterator[Workspace]:
    tree = project.git("rev-parse", "HEAD^{tree}")
    with create(
        project.clone,
        tree,
        may_read=lambda path: not path.startswith("secret/"),
        scope="no secrets",
        lowers=tmp_path / "lowers",
        parent=tmp_path / "runs",
        disk_mb=64,
        uid=10001,
        reach=reach,
    ) as made:
        yield made


def reap(project: Project, copy: Workspace, **bounds: int) -> Harvest:
    limits = {"max_bytes": 1 << 20, "max_files": 100} | bounds
    return harvest(project.clone, copy, ignore=["__pycache__/", "*.pyc"], **limits)


def test_nothing_changed(project: Project, copy: Workspace) -> None:
    assert reap(project, copy) == Harvest({}, (), (), ())


def test_touching_is_no_change(project: Project, copy: Workspace) -> None:
    (copy.path / "README").write_bytes(b"hello\n")
    os.utime(copy.path / "src/app/main.py", (0, 0))
    (copy.path / "docs").chmod(0o700)
    (copy.path / "README").chmod(0o600)
    assert reap(project, copy) == Harvest({}, (), (), ())


def test_puts_modes_and_deletes(project: Project, copy: Workspace) -> None:
    (copy.path / "README").write_bytes(b"")
    (copy.path / "docs/a.md").unlink()
    (copy.path / "src/app/main.py").chmod(0o755)
    (copy.path / "src/new/deep").mkdir(parents=True)
    (copy.path / "src/new/deep/\u00fc.py").write_bytes(b"\r\n\0")
    (copy.path / "empty-directory").mkdir()
    found = reap(project, copy)
    assert found == Harvest(
        {
            "README": Put(b"", FILE),
            "src/app/main.py": Put(b"print()\n", EXECUTABLE),
            "src/new/deep/\u00fc.py": Put(b"\r\n\0", FILE),
        },
        ("docs/a.md",),
        (),
        (),
    )


def test_a_change_of_the_same_size_and_time_is_seen(project: Project, copy: Workspace) -> None:
    before = (copy.path / "README").stat()
    (copy.path / "README").write_bytes(b"hellO\n")
    os.utime(copy.path / "README", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert reap(project, copy).puts == {"README": Put(b"hellO\n", FILE)}


def test_files_and_directories_change_places(project: Project, copy: Workspace) -> None:
    (copy.path / "README").unlink()
    (copy.path / "README").mkdir()
    (copy.path / "README/a").write_bytes(b"1")
    for path in ("docs/a.md", "docs/.gitignore"):
        (copy.path / path).unlink()
    (copy.path / "docs").rmdir()
    (copy.path / "docs").write_bytes(b"2")
    found = reap(project, copy)
    assert found == Harvest(
        {"README/a": Put(b"1", FILE), "docs": Put(b"2", FILE)}, ("README", "docs/.gitignore", "docs/a.md"), (), ()
    )
    base = copy.tree
    tree = trees.build(project.clone, base, {**found.puts, **dict.fromkeys(found.deletes)})
    changed = [change.path for change in trees.compare(project.clone, base, tree)]
    assert changed == ["README", "README/a", "docs", "docs/.gitignore", "docs/a.md"]


def test_only_untracked_files_are_ignored(project: Project, copy: Workspace) -> None:
    (copy.path / "src/__pycache__").mkdir()
    for path in ("src/__pycache__/x.pyc", "a.log", "keep.log", "build/new.o", "docs/out", "docs/special.log", "x.pyc"):
        (copy.path / path).write_bytes(b"1")
    (copy.path / "build/tracked.o").write_bytes(b"changed")
    (copy.path / "sub").mkdir()
    (copy.path / "sub/out").write_bytes(b"1")
    found = reap(project, copy)
    assert set(found.puts) == {"build/tracked.o", "keep.log", "docs/special.log", "sub/out"}
    assert found.ignored == ("a.log", "build/new.o", "docs/out", "src/__pycache__/", "x.pyc")


def test_an_agents_own_ignore_file_decides_nothing(project: Project, copy: Workspace) -> None:
    (copy.path / ".gitignore").write_bytes(b"*\n")
    (copy.path / "src/.gitignore").write_bytes(b"*\n")
    (copy.path / "src/backdoor.py").write_bytes(b"1")
    found = reap(project, copy)
    assert set(found.puts) == {".gitignore", "src/.gitignore", "src/backdoor.py"}


def test_a_deleted_ignored_but_tracked_file_is_deleted(project: Project, copy: Workspace) -> None:
    (copy.path / "build/tracked.o").unlink()
    assert reap(project, copy).deletes == ("build/tracked.o",)


def test_withheld_paths_are_neither_deleted_nor_made(project: Project, copy: Workspace) -> None:
    assert copy.withheld == ("secret/key",)
    assert reap(project, copy).deletes == ()
    (copy.path / "secret").mkdir()
    (copy.path / "secret/key").write_bytes(b"mine")
    found = reap(project, copy)
    assert found.puts == {}
    assert [path for path, _ in found.refused] == ["secret/key"]
    assert "withheld" in found.refused[0][1]


def test_a_directory_in_place_of_a_withheld_file(project: Project, copy: Workspace) -> None:
    (copy.path / "secret/key").mkdir(parents=True)
    (copy.path / "secret/key/x").write_bytes(b"mine")
    found = reap(project, copy)
    assert found.puts == {}
    assert [path for path, _ in found.refused] == ["secret/key"]


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = os.open(path.parent, os.O_RDONLY)  # the path itself may be too long for a socket's address
        try:
            one.bind(f"/proc/self/fd/{here}/{path.name}")
        finally:
            os.close(here)


def _replace_by_link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


HOSTILE: dict[str, tuple[str, Change]] = {
    "link to a secret": ("x", lambda top: (top / "x").symlink_to("/etc/passwd")),
    "link to a directory": ("d", lambda top: (top / "d").symlink_to("/etc")),
    "link to itself": ("x", lambda top: (top / "x").symlink_to("x")),
    "tracked file becomes a link": ("README", lambda top: _replace_by_link(top / "README", "/etc/passwd")),
    "tracked link leads elsewhere": ("link", lambda top: _replace_by_link(top / "link", "/etc")),
    "tracked link becomes a file": ("link", lambda top: ((top / "link").unlink(), (top / "link").write_bytes(b"1"))),
    "link in a new directory": ("n/x", lambda top: ((top / "n").mkdir(), (top / "n/x").symlink_to("../README"))),
    "socket": ("s", lambda top: _socket(top / "s")),
    "named pipe": ("f", lambda top: os.mkfifo(top / "f")),
    "tracked file becomes a pipe": ("README", lambda top: ((top / "README").unlink(), os.mkfifo(top / "README"))),
    "no UTF-8": ("a\\udcff", lambda top: (top / os.fsdecode(b"a\xff")).write_bytes(b"1")),
    "control characters": ("a\\x1b[2J", lambda top: (top / "a\x1b[2J").write_bytes(b"1")),
    "directory with a bad name": ("aux", lambda top: ((top / "aux").mkdir(), (top / "aux/x").write_bytes(b"1"))),
    "option": ("-rf", lambda top: (top / "-rf").write_bytes(b"1")),
    "backslash": ("a\\b", lambda top: (top / "a\\b").write_bytes(b"1")),
    "trailing space": ("a ", lambda top: (top / "a ").write_bytes(b"1")),
    "modules": (".gitmodules", lambda top: (top / ".gitmodules").write_bytes(b"1")),
    "Git file": (".git", lambda top: (top / ".git").write_bytes(b"gitdir: /tmp")),
    "file in a submodule": ("vendor/lib", lambda top: (top / "vendor/lib/x").write_bytes(b"1")),
    "submodule becomes a file": (
        "vendor/lib",
        lambda top: ((top / "vendor/lib").rmdir(), (top / "vendor/lib").touch()),
    ),
}


if os.geteuid() == 0:  # nobody else can make devices, in a sandbox or here
    HOSTILE |= {
        "character device": ("c", lambda top: os.mknod(top / "c", 0o666 | stat.S_IFCHR, os.makedev(1, 5))),
        "block device": ("b", lambda top: os.mknod(top / "b", 0o666 | stat.S_IFBLK, os.makedev(7, 0))),
    }


@pytest.mark.parametrize(("path", "change"), HOSTILE.values(), ids=HOSTILE.keys())
def test_refused(project: Project, copy: Workspace, path: str, change: Change) -> None:
    change(copy.path)
    found = reap(project, copy)
    assert [refused for refused, _ in found.refused] == [path]
    assert found.puts == {}
    assert found.deletes == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="nobody else makes devices, in a sandbox or here")
def test_a_forged_whiteout(project: Project, copy: Workspace) -> None:
    (copy.path / "README").unlink()
    if copy.mode == "overlay":
        with pytest.raises(PermissionError):  # by the kernel, even for root
            os.mknod(copy.path / "README", stat.S_IFCHR, 0)
        assert reap(project, copy).deletes == ("README",)
        return
    os.mknod(copy.path / "README", stat.S_IFCHR, 0)
    found = reap(project, copy)
    assert [path for path, _ in found.refused] == ["README"]
    assert found.deletes == ()


def test_a_planted_git_directory_is_refused_and_never_used(project: Project, copy: Workspace, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    for folder in (copy.path / ".git", copy.path / "src/.GIT", copy.path / "bare"):
        (folder / "objects").mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "HEAD").write_bytes(b"ref: refs/heads/main\n")
        (folder / "config").write_text(f'[core]\n fsmonitor = "touch {marker}"\n bare = true\n')
    found = reap(project, copy)
    assert [path for path, _ in found.refused] == [".git", "src/.GIT"]
    assert set(found.puts) == {"bare/HEAD", "bare/config"}
    tree = trees.build(project.clone, copy.tree, found.puts)
    trees.cross_check(project.clone, copy.tree, tree, trees.compare(project.clone, copy.tree, tree))
    trees.diff(project.clone, copy.tree, tree)
    assert not marker.exists()


def test_tracked_directory_replaced_by_a_link(project: Project, copy: Workspace, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/main.py").write_bytes(b"theirs")
    for path in ("src/app/main.py", "src/app/util.py"):
        (copy.path / path).unlink()
    (copy.path / "src/app").rmdir()
    (copy.path / "src/app").symlink_to(tmp_path / "outside")
    found = reap(project, copy)
    assert found.refused == (("src/app", "it is a symbolic link"),)
    assert found.puts == {}
    assert found.deletes == ("src/app/main.py", "src/app/util.py")


def test_hard_links_are_content_and_special_bits_are_dropped(project: Project, copy: Workspace) -> None:
    os.link(copy.path / "README", copy.path / "again")
    (copy.path / "new").write_bytes(b"1")
    (copy.path / "new").chmod(0o6755)
    (copy.path / "docs/a.md").chmod(0o1666)
    assert reap(project, copy).puts == {"again": Put(b"hello\n", FILE), "new": Put(b"1", EXECUTABLE)}


def test_unreadable_files_are_read(project: Project, copy: Workspace) -> None:
    (copy.path / "n").mkdir()
    (copy.path / "n/x").write_bytes(b"1")
    (copy.path / "n/x").chmod(0)
    (copy.path / "n").chmod(0)
    assert reap(project, copy).puts == {"n/x": Put(b"1", FILE)}


def test_sparse_terabyte(project: Project, copy: Workspace) -> None:
    with (copy.path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    before = time.monotonic()
    with pytest.raises(PolicyError, match="bytes") as raised:
        reap(project, copy)
    assert time.monotonic() - before < 2
    assert "huge" in raised.value.message


def test_bytes_together_are_bounded(project: Project, copy: Workspace) -> None:
    for number in range(5):
        (copy.path / f"n{number}").write_bytes(b"x" * 300)
    with pytest.raises(PolicyError, match="bytes"):
        reap(project, copy, max_bytes=1000)


def test_files_are_bounded(project: Project, copy: Workspace) -> None:
    for number in range(11):
        (copy.path / f"n{number}").touch()
    with pytest.raises(PolicyError, match="10 files"):
        reap(project, copy, max_files=10)


def test_large_unchanged_files_are_no_change(tmp_path: Path, reach: Reach) -> None:
    project = make_project(tmp_path / "p", {"large": b"x" * 5000, "a": b"1"})
    tree = project.git("rev-parse", "HEAD^{tree}")
    with create(
        project.clone,
        tree,
        may_read=lambda _: True,
        scope="",
        lowers=tmp_path / "l",
        parent=tmp_path / "r",
        disk_mb=8,
        uid=10001,
        reach=reach,
    ) as copy:
        assert reap(project, copy, max_bytes=100) == Harvest({}, (), (), ())
        (copy.path / "large").write_bytes(b"x" * 4999 + b"y")
        with pytest.raises(PolicyError, match="large"):
            reap(project, copy, max_bytes=100)


def test_depth_is_bounded(project: Project, copy: Workspace) -> None:
    here = os.open(copy.path, os.O_RDONLY)
    for _ in range(1000):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    found = reap(project, copy)
    assert found.puts == {}
    assert len(found.refused) == 1
    assert "deeper" in found.refused[0][1]


def test_time_is_bounded(project: Project, copy: Workspace) -> None:
    with pytest.raises(PolicyError, match="too long"):
        harvest(project.clone, copy, ignore=[], max_bytes=100, max_files=10, seconds=0)


def test_refusals_are_counted_beyond_a_thousand(project: Project, copy: Workspace) -> None:
    for number in range(1005):
        (copy.path / f"l{number:04}").symlink_to("x")
    found = reap(project, copy)
    assert len(found.refused) == 1001
    assert found.refused[-1] == ("...", "and 5 more")


def test_case_collisions_are_refused_when_the_tree_is_built(project: Project, copy: Workspace) -> None:
    (copy.path / "readme").write_bytes(b"1")
    found = reap(project, copy)
    with pytest.raises(PathError, match="same file"):
        trees.build(project.clone, copy.tree, found.puts)


def test_another_file_system_is_not_entered(project: Project, copy: Workspace) -> None:
    (copy.path / "m").mkdir()
    if not bounds.mount(copy.path / "m", 1):
        assert os.geteuid() != 0, "root mounts"
        return
    try:
        (copy.path / "m/x").write_bytes(b"1")
        seen = copy.mode == "copy"  # what is mounted over an overlay never reaches its upper directory
        refused = (("m", "it lies on another file system"),) if seen else ()
        assert reap(project, copy) == Harvest({}, (), refused, ())
    finally:
        bounds.unmount(copy.path / "m")


NAMES = st.sampled_from(["a", "b", "c.txt", "d"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
FILES = st.tuples(st.binary(max_size=6), st.booleans())


def _plain(files: dict[str, tuple[bytes, bool]]) -> dict[str, tuple[bytes, bool]]:
    """Keep those that no other file is below of."""
    return {path: one for path, one in files.items() if not any(other.startswith(f"{path}/") for other in files)}


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.dictionaries(PATHS, FILES, max_size=6), after=st.dictionaries(PATHS, FILES, max_size=6))
def test_harvest_says_what_an_independent_comparison_says(
    project: Project,
    tmp_path: Path,
    reach: Reach,
    before: dict[str, tuple[bytes, bool]],
    after: dict[str, tuple[bytes, bool]],
) -> None:
    """Whatever is in the copy afterwards: putting the harvest on the base gives exactly that."""
    clone = project.clone
    old, new = _plain(before), _plain(after)
    puts = {path: Put(data, EXECUTABLE if runs else FILE) for path, (data, runs) in old.items()}
    tree = trees.build(clone, project.raw_tree(), puts)
    with create(
        clone,
        tree,
        may_read=lambda _: True,
        scope="",
        lowers=tmp_path / "l",
        parent=tmp_path / "r",
        disk_mb=4,
        uid=10001,
        reach=reach,
    ) as copy:
        for path in old:
            (copy.path / path).unlink()
        for folder in sorted((path for path in copy.path.rglob("*")), reverse=True):
            folder.rmdir()
        for path, (data, runs) in new.items():
            (copy.path / path).parent.mkdir(parents=True, exist_ok=True)
            (copy.path / path).write_bytes(data)
            (copy.path / path).chmod(0o755 if runs else 0o644)
        found = harvest(clone, copy, ignore=[], max_bytes=1 << 20, max_files=1000)
    assert found.refused == found.ignored == ()
    assert {path: (put.content, put.mode == EXECUTABLE) for path, put in found.puts.items()} == {
        path: one for path, one in new.items() if old.get(path) != one
    }
    assert set(found.deletes) == set(old) - set(new)
    result = trees.build(clone, tree, {**found.puts, **dict.fromkeys(found.deletes)})
    wanted = {path: Put(data, EXECUTABLE if runs else FILE) for path, (data, runs) in new.items()}
    assert result == trees.build(clone, project.raw_tree(), wanted)
