"""Files and directories that are there for a while, and vanish even when whoever made them is killed.

Each has a name that ends in `SUFFIX`, and is locked by its maker for as long as it is there. A lock that can be had
means that the maker is dead (no process number is ever compared), and a sweep removes what it left: that of the next
who makes something there, or of the next command. Others may write to the same directory and put into it what they
like: nothing is removed but our own user's, and no link is followed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent_pipeline import interrupts

SUFFIX: Final = ".agent-pipeline"
_PREFIX: Final = "agent-pipeline-"  # of directories; a file's is its maker's
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # at once, whatever lies there


@dataclass(frozen=True, slots=True)
class Held:
    """Something temporary that is ours; `descriptor` is what is locked, and stays open until it is removed."""

    path: Path
    descriptor: int

    def remove(self) -> None:
        """Remove it, unless it has got another name meanwhile. Raises `OSError`."""
        try:
            if _is_at(self.descriptor, self.path):
                _remove(self.descriptor, self.path)
        finally:
            os.close(self.descriptor)


@contextlib.contextmanager
def scratch(word: str, *, below: Path | None = None) -> Iterator[Path]:
    """Make a temporary directory for `word`, and remove it afterwards even when an interrupt comes at that very moment.

    What of them was left `below` by processes that were killed goes first.
    """
    made: list[Held] = []
    try:
        with interrupts.held_back():
            made.append(folder(word, below))
        yield made[0].path
    finally:
        with interrupts.held_back():
            for held in made:
                held.remove()


def folder(word: str, parent: Path | None) -> Held:
    """Make a directory for `word` in `parent`, or where temporary files belong, and sweep there. Raises `OSError`."""
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    sweep(parent)
    while True:
        path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{word}-", suffix=SUFFIX, dir=parent))
        with contextlib.suppress(FileNotFoundError):  # a sweep came between making and opening it
            if (held := _held(path, os.open(path, _OPEN | os.O_DIRECTORY))) is not None:
                return held


def file(parent: Path, prefix: str) -> Held:
    """Make a file in `parent` to be written by its descriptor, and sweep such files there. Raises `OSError`."""
    sweep(parent, prefix)
    while True:
        descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=SUFFIX, dir=parent)
        if (held := _held(Path(name), descriptor)) is not None:
            return held


def sweep(parent: Path | None = None, prefix: str = _PREFIX) -> None:
    """Remove what dead makers left in `parent`, or where temporary files belong. What cannot be removed stays."""
    with contextlib.suppress(OSError):
        parent = Path(tempfile.gettempdir()) if parent is None else parent
        with os.scandir(parent) as found:
            paths = [parent / one.name for one in found if one.name.startswith(prefix) and one.name.endswith(SUFFIX)]
        for path in paths:
            with contextlib.suppress(OSError, RecursionError):  # its maker lives, it is gone, or not for us to remove
                _sweep(path)


def _held(path: Path, descriptor: int) -> Held | None:
    """Take the lock; None when a sweep came between making and locking it."""
    with contextlib.suppress(OSError):  # a file system without such locks: nobody can have this one, and none sweeps
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    if _is_at(descriptor, path):
        return Held(path, descriptor)
    os.close(descriptor)
    return None


def _sweep(path: Path) -> None:
    if path.lstat().st_uid != os.geteuid():
        return  # not even opened
    descriptor = os.open(path, _OPEN)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_uid == os.geteuid() and _is_at(descriptor, path):
            _remove(descriptor, path)
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _remove(descriptor: int, path: Path) -> None:
    """Empty a directory by its descriptor, so that it is this one whatever `path` leads to by now; then the name."""
    if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
        path.unlink()
        return
    for name in os.listdir(descriptor):
        if stat.S_ISDIR(os.lstat(name, dir_fd=descriptor).st_mode):
            shutil.rmtree(name, dir_fd=descriptor)
        else:
            os.unlink(name, dir_fd=descriptor)
    path.rmdir()
