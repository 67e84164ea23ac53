"""Something still runs and exchanges what is being read: nothing from outside the copy is read, changed or proposed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from support.gitrepos import Project, make_project

from agent_pipeline import clock
from agent_pipeline.errors import PolicyError, StorageError
from agent_pipeline.workspace import Workspace, create, harvest, reading, removal
from agent_pipeline.workspace.copy import Reach

SECRET = b"of another user's, never to be read\n"
MINE = b"x" * len(SECRET)  # a size that differs would be noticed by itself
AT, EXCHANGE = -100, 2  # linux/fcntl.h
SECONDS = 3.0
_LIBC = ctypes.CDLL(None, use_errno=True)


def exchange(one: Path, other: Path) -> None:
    """Swap two names in one step, so that both are always there."""
    assert _LIBC.renameat2(AT, os.fsencode(one), AT, os.fsencode(other), EXCHANGE) == 0, os.strerror(ctypes.get_errno())


@pytest.fixture
def outside(copy: Workspace) -> Path:
    """What must not be reached: a file and a directory, with modes that show whether somebody changed them.

    On the file system that is read, if that is possible: another one is refused by its number alone.
    """
    folder = (copy.layers.upper if copy.layers is not None else copy.path).parent / "outside"
    folder.mkdir(mode=0o755)
    (folder / "secret").write_bytes(SECRET)
    (folder / "secret").chmod(0o640)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "p", {"tracked/secret": b"1\n", "tracked/other": b"2\n", "file": b"3\n"})


@pytest.fixture(params=["host", "copy"])
def copy(project: Project, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Workspace]:
    with create(
        project.clone,
        project.git("rev-parse", "HEAD^{tree}"),
        may_read=lambda _: True,
        scope="",
        lowers=tmp_path / "lowers",
        parent=tmp_path / "runs",
        disk_mb=8,
        uid=10001,
        reach=cast("Reach", request.param),
    ) as made:
        yield made


def lay(workspace: Path, outside: Path) -> list[tuple[Path, Path]]:
    """Make pairs to swap: files and directories, new ones and the base's, with links, pipes and each other."""
    (workspace / "new").mkdir()
    (workspace / "new/secret").write_bytes(MINE)
    (workspace / "file").write_bytes(MINE)
    (workspace / "tracked/secret").write_bytes(MINE)
    (workspace / "plain").write_bytes(MINE)
    (workspace / "closed").write_bytes(MINE)
    (workspace / "closed").chmod(0)
    traps = workspace / "traps"
    traps.mkdir()
    for name in ("a", "b"):
        (traps / name).symlink_to(outside)
    for name in ("c", "d", "e"):
        (traps / name).symlink_to(outside / "secret")
    os.mkfifo(traps / "f")
    (traps / "g").mkdir()
    names = ("new", "tracked", "file", "plain", "closed", "file", "plain")
    return [(workspace / name, traps / trap) for name, trap in zip(names, "abcdefg", strict=True)]


@contextmanager
def swapping(pairs: list[tuple[Path, Path]]) -> Iterator[list[int]]:
    """Swap at random until the block ends; count the swaps."""
    over, swaps = threading.Event(), [0]

    def swap() -> None:
        order = random.Random(7)  # noqa: S311 - which pair is next need not be unpredictable
        while not over.is_set():
            exchange(*order.choice(pairs))
            swaps[0] += 1

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield swaps
    finally:
        over.set()
        thread.join()


def test_exchanging_while_it_is_read_reaches_nothing_outside(project: Project, copy: Workspace, outside: Path) -> None:
    """By the upper directory of an overlay itself, where there is one: that is what is read."""
    pairs = lay(copy.path, outside)
    if copy.layers is not None:
        pairs = [(copy.layers.upper / one.name, copy.layers.upper / "traps" / two.name) for one, two in pairs]
    before = (outside.stat(), (outside / "secret").stat())
    looks = refused = 0
    with swapping(pairs) as swaps:
        until = clock.monotonic() + SECONDS
        while clock.monotonic() < until:
            looks += 1
            try:
                found = harvest(project.clone, copy, ignore=[], max_bytes=1 << 20, max_files=100)
            except (StorageError, PolicyError):
                refused += 1
                continue
            assert all(put.content != SECRET for put in found.puts.values())
    assert swaps[0] > 100
    assert looks > 20
    assert refused < looks  # it came to results, too
    for was, path in zip(before, (outside, outside / "secret"), strict=True):
        now = path.stat()
        assert (now.st_mode, now.st_mtime_ns, now.st_ctime_ns) == (was.st_mode, was.st_mtime_ns, was.st_ctime_ns)


def test_a_link_in_place_of_a_closed_file_changes_nobodys_mode(outside: Path, tmp_path: Path) -> None:
    """What an ordinary user may not open is made readable: the thing itself, never what a link leads to."""
    (tmp_path / "link").symlink_to(outside / "secret")
    top = os.open(tmp_path, os.O_RDONLY)
    try:
        reading._make_readable(b"link", top, 0o600)
    finally:
        os.close(top)
    assert (outside / "secret").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("call", ["lstat", "fstat"])
def test_a_directory_exchanged_for_a_link_while_it_is_removed_changes_nobodys_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Exchanged right after a look at it: the link goes, and what it leads to stays as it is."""
    folder, link, outside = tmp_path / "workspace/folder", tmp_path / "link", tmp_path / "outside"
    folder.mkdir(parents=True)
    outside.mkdir()
    outside.chmod(0o755)
    (outside / "file").write_bytes(SECRET)
    link.symlink_to(outside)
    real, exchanged = getattr(os, call), []

    def look(what: str | int, **where: int) -> os.stat_result:
        found: os.stat_result = real(what, **where)
        if not exchanged:
            exchanged.append(what)
            exchange(folder, link)
        return found

    with monkeypatch.context() as patched, contextlib.suppress(StorageError):
        patched.setattr(os, call, look)
        removal.remove(folder.parent)
    assert exchanged
    removal.remove(folder.parent)
    assert not folder.parent.exists()
    assert outside.stat().st_mode & 0o777 == 0o755
    assert (outside / "file").read_bytes() == SECRET
