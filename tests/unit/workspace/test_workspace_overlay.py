"""What an overlay's upper directory says is what a full comparison says, whatever was done to the copy.

Root's overlay keeps its marks in attributes that only root may set, an ordinary user's in attributes that anybody may:
`test_workspace_modes.py` runs all of this for one, too.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.gitrepos import Project, make_project

from agent_pipeline import process
from agent_pipeline.errors import PolicyError
from agent_pipeline.repository.trees import EXECUTABLE, FILE, Put
from agent_pipeline.workspace import Harvest, Workspace, create, harvest, offered
from agent_pipeline.workspace.copy import Reach

REACH: Final[Reach] = "host" if os.geteuid() == 0 else "namespace"


def _possible() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        return offered(lowers=Path(folder) / "l", parent=Path(folder) / "r", uid=10001, reach=REACH)[0] == "overlay"


pytestmark = pytest.mark.skipif(os.geteuid() != 0 and not _possible(), reason="only root mounts an overlay here")

BASE: Final = {
    "a": b"1\n",
    "b/a": b"2\n",
    "b/b/a": b"3\n",
    "b/b/c": b"",
    "c/a": b"4\n",
    "c/secret/a": b"s",
    "c/secret/b/a": b"s",
    "d/secret": b"s",
    "secret": b"s",
    ".gitignore": b"*.log\nout/\n",
    "b/.gitignore": b"!keep.log\n",
    "c/tracked.log": b"5\n",
    "zeros": bytes(300_000),
}
NAMES: Final = [
    "a",
    "b",
    "c",
    "d",
    "secret",
    "out",
    "x.log",
    "keep.log",
    "tracked.log",
    ".gitignore",
    "aux",
    "link",
    "zeros",
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = make_project(tmp_path_factory.mktemp("overlay") / "p", BASE)
    (made.folder / "link").symlink_to("b")
    (made.folder / "b/link").symlink_to("/etc")
    (made.folder / "b/b/a").chmod(0o755)
    made.git("add", "--force", "--all")
    made.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},c/module")
    made.git("commit", "--quiet", "-m", "links, modes, a submodule")
    odd = made.git("hash-object", "-w", "--stdin", stdin=b"odd")
    made.git("update-index", "--add", "--cacheinfo", f"100644,{odd},b/{'x' * 256}")
    made.git("commit", "--quiet", "-m", "a name that no directory holds")
    return made


@pytest.fixture
def copy(project: Project, tmp_path: Path) -> Iterator[Workspace]:
    with a_copy(project, tmp_path) as made:
        yield made


def a_copy(project: Project, folder: Path):  # type: ignore[no-untyped-def]  # noqa: ANN201
    return create(
        project.clone,
        project.git("rev-parse", "HEAD^{tree}"),
        may_read=lambda path: "secret" not in path.split("/"),
        scope="no secrets",
        lowers=folder / "lowers",
        parent=folder / "runs",
        disk_mb=4,
        uid=10001,
        reach=REACH,
    )


def reap(project: Project, copy: Workspace, **bounds: int) -> Harvest:
    limits = {"max_bytes": 8 << 20, "max_files": 1000} | bounds
    return harvest(project.clone, copy, ignore=["*.pyc"], **limits)


def compared(project: Project, copy: Workspace, folder: Path) -> Harvest:
    """Take the merged files to a plain directory, and compare every path."""
    plain = folder / "plain"
    for here, _, _ in os.walk(copy.path):
        Path(here).chmod(0o755)  # `cp` looks as closely as its user may, and modes of directories are no change
    copied = process.run(["cp", "--archive", str(copy.path), str(plain)], env={"PATH": os.environ["PATH"]})
    assert copied.ok, copied.explain()
    try:
        return reap(project, replace(copy, mode="copy", layers=None, path=plain))
    finally:
        shutil.rmtree(plain)


PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map(tuple)
KINDS = (
    "write", "touch", "append", "mode", "remove", "rebuild", "folder", "rename", "symlink", "pipe", "hardlink",
    "attribute", "list", "hole", "large hole",
)  # fmt: skip
STEPS = st.tuples(st.sampled_from(KINDS), PATHS, PATHS)


def _inside(top: Path, parts: tuple[str, ...]) -> Path:
    """Return the path, unless it leads through a link: the workload's own links lead nowhere but into its sandbox."""
    path = top
    for part in parts[:-1]:
        path /= part
        if path.is_symlink():
            raise NotADirectoryError(path)
    return path / parts[-1]


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _rebuild(path: Path) -> None:
    _remove(path)
    path.mkdir()


def _append(path: Path) -> None:
    if path.is_file() and not path.is_symlink():
        with path.open("ab") as file:
            file.write(b"+")


def _write(path: Path, other: Path) -> None:
    if path.is_symlink() or path.is_fifo():
        path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(other.name.encode())


def _touch(path: Path) -> None:
    if path.is_file() and not path.is_symlink():
        path.write_bytes(path.read_bytes())


def _mode(path: Path, mode: int) -> None:
    if not path.is_symlink():
        path.chmod(mode)


def _attribute(path: Path, name: str, value: bytes) -> None:
    os.setxattr(path, name, value, follow_symlinks=False)


def _hole(path: Path, size: int) -> None:
    """Make a file of which only the last byte takes room, if that."""
    if not path.is_symlink() and not path.is_fifo():
        with path.open("wb") as file:
            file.truncate(size)


# linux/posix_acl_xattr.h: the owner may do all, one other user may read, the group and others nothing.
ACL: Final = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry) for entry in ((1, 7, 2**32 - 1), (2, 4, os.geteuid()), (4, 0, 2**32 - 1),
                                              (16, 4, 2**32 - 1), (32, 0, 2**32 - 1))
)  # fmt: skip
DO: dict[str, Callable[[Path, Path], object]] = {
    "write": _write,
    "touch": lambda path, _: _touch(path),
    "append": lambda path, _: _append(path),
    "mode": lambda path, other: _mode(path, 0o755 if other.name < "c" else 0o640),
    "remove": lambda path, _: _remove(path),
    "rebuild": lambda path, _: _rebuild(path),
    "folder": lambda path, _: path.mkdir(parents=True),
    "rename": lambda path, other: path.rename(other),
    "symlink": lambda path, other: path.symlink_to(other.name),
    "pipe": lambda path, _: os.mkfifo(path),
    "hardlink": lambda path, other: os.link(path, other, follow_symlinks=False),
    "attribute": lambda path, other: _attribute(path, f"user.{other.name}", b"x"),
    "list": lambda path, _: _attribute(path, "system.posix_acl_access", ACL),
    "hole": lambda path, other: _hole(path, len(other.name)),
    "large hole": lambda path, _: _hole(path, 300_000),
}


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=1, max_size=12))
def test_harvest_of_the_upper_directory_is_the_full_comparison(
    project: Project, tmp_path: Path, steps: list[tuple[str, tuple[str, ...], tuple[str, ...]]]
) -> None:
    with a_copy(project, tmp_path) as copy:
        for kind, path, other in steps:
            try:
                DO[kind](_inside(copy.path, path), _inside(copy.path, other))
            except OSError:
                continue  # what cannot be done changes nothing, or is half done: either way it counts as it lies there
        assert copy.mode == "overlay"
        assert reap(project, copy) == compared(project, copy, tmp_path)


def test_a_directory_made_anew_hides_nothing(project: Project, copy: Workspace, tmp_path: Path) -> None:
    shutil.rmtree(copy.path / "b")
    (copy.path / "b/b").mkdir(parents=True)
    (copy.path / "b/b/a").write_bytes(b"3\n")
    (copy.path / "b/b/a").chmod(0o755)
    found = reap(project, copy)
    assert found == Harvest({}, ("b/.gitignore", "b/a", "b/b/c", "b/link"), (), ())
    assert found == compared(project, copy, tmp_path)


def test_removing_a_directory_with_withheld_files_removes_only_what_was_there(
    project: Project, copy: Workspace
) -> None:
    shutil.rmtree(copy.path / "c")
    assert reap(project, copy).deletes == ("c/a", "c/module", "c/tracked.log")
    assert not (copy.path / "d").exists()
    (copy.path / "d").mkdir()
    (copy.path / "d/secret").write_bytes(b"mine")
    (copy.path / "d/new").write_bytes(b"mine")
    found = reap(project, copy)
    assert [path for path, _ in found.refused] == ["d/secret"]
    assert found.puts == {"d/new": Put(b"mine", FILE)}
    assert "d/secret" not in found.deletes


def test_the_workload_forges_no_mark(project: Project, copy: Workspace) -> None:
    """Attributes of that name land under another; a directory that claims to be made anew is merged as before."""
    for name in ("trusted.overlay.opaque", "user.overlay.opaque", "trusted.overlay.whiteout"):
        try:
            os.setxattr(copy.path / "b", name, b"y")
            os.setxattr(copy.path / "a", name, b"y")
        except OSError:
            continue
    assert (copy.path / "b/a").exists()
    assert reap(project, copy) == Harvest({}, (), (), ())


def test_attributes_and_holes_are_no_change(project: Project, copy: Workspace, tmp_path: Path) -> None:
    """Content alone counts, and whether a file may be executed: not how it is stored, nor what else is said of it."""
    kept = 0
    for path in (copy.path / "a", copy.path / "b", copy.path / "zeros"):
        for name, value in (
            ("user.note", b"x" * 100),
            ("user.mime_type", b"text/plain"),
            ("system.posix_acl_default", ACL),
        ):
            try:
                os.setxattr(path, name, value)
            except OSError:
                continue  # of a kernel whose tmpfs has none, or a list of defaults for a file
            kept += 1
    (copy.path / "zeros").write_bytes(b"")
    os.truncate(copy.path / "zeros", 300_000)
    assert (copy.path / "zeros").stat().st_blocks == 0
    assert kept or REACH == "host"  # an overlay of an ordinary user takes a tmpfs that has attributes
    assert kept == len([name for path in copy.path.iterdir() for name in os.listxattr(path, follow_symlinks=False)])
    assert reap(project, copy) == compared(project, copy, tmp_path) == Harvest({}, (), (), ())
    os.setxattr(copy.path / "a", "system.posix_acl_access", ACL)  # by which the owner may execute it
    assert reap(project, copy).puts == {"a": Put(b"1\n", EXECUTABLE)}


def test_a_hole_is_the_zeros_that_are_read(project: Project, copy: Workspace, tmp_path: Path) -> None:
    with (copy.path / "new").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
    (copy.path / "small").touch()
    os.truncate(copy.path / "small", 5)
    assert (copy.path / "new").stat().st_blocks * 512 < 1 << 20
    found = reap(project, copy)
    assert found.puts == {"new": Put(bytes(1 << 20) + b"end", FILE), "small": Put(bytes(5), FILE)}
    assert found == compared(project, copy, tmp_path)
    (copy.path / "huge").touch()
    os.truncate(copy.path / "huge", 1 << 40)
    with pytest.raises(PolicyError, match="more than"):
        reap(project, copy)


def test_a_directory_that_may_be_listed_and_not_entered(project: Project, copy: Workspace, tmp_path: Path) -> None:
    for mode in (0o640, 0o200, 0o100, 0o000):
        (copy.path / "b/b/a").write_bytes(b"%o" % mode)
        for name in ("b/b", "b"):
            (copy.path / name).chmod(mode)
        assert reap(project, copy).puts == {"b/b/a": Put(b"%o" % mode, EXECUTABLE)}
        for name in ("b", "b/b"):
            (copy.path / name).chmod(0o755)
    assert compared(project, copy, tmp_path).puts == {"b/b/a": Put(b"0", EXECUTABLE)}


def test_removing_more_than_may_be_proposed(project: Project, copy: Workspace) -> None:
    shutil.rmtree(copy.path / "b")
    with pytest.raises(PolicyError, match="3 files"):
        reap(project, copy, max_files=3)


def test_the_lower_directory_stays_as_it_is(project: Project, copy: Workspace, tmp_path: Path) -> None:
    (copy.path / "a").write_bytes(b"changed")
    (copy.path / "b/a").chmod(0o600)
    shutil.rmtree(copy.path / "c")
    with a_copy(project, tmp_path) as other:
        assert (other.path / "a").read_bytes() == b"1\n"
        assert (other.path / "b/a").stat().st_mode & 0o777 == 0o644
        assert (other.path / "c/a").exists()
        assert reap(project, other) == Harvest({}, (), (), ())


def test_reading_while_it_lives_shows_the_change(project: Project, copy: Workspace) -> None:
    with (copy.path / "b/a").open("ab") as open_file:
        open_file.write(b"more")
        open_file.flush()
        assert reap(project, copy).puts == {"b/a": Put(b"2\nmore", FILE)}
