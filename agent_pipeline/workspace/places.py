"""The directories that copies lie in. Each vanishes with its run, however that ends: even by `kill -9`.

Beside each directory lies a file, locked by the process that works there. A lock that can be had means that its owner
is dead, and a sweep removes the directory: the watcher's, which wakes up when we die, or the next run's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agent_pipeline import interrupts, process
from agent_pipeline.errors import StorageError
from agent_pipeline.workspace import bounds, removal

PREFIX: Final = "agent-pipeline-workspace-"
LOCK: Final = ".lock"
FILES: Final = "files"  # the copy
SPACE, LOWER = "space", "lower"  # what an overlay needs beside it


@contextmanager
def held(parent: Path, uid: int | None) -> Iterator[Path]:
    """Make a directory below `parent` with an empty one for the copy, and remove it and all in it afterwards.

    What is mounted in it by then is unmounted. With `uid` nobody but that user and root gets in. Raises `StorageError`
    when it cannot be made.
    """
    with contextlib.suppress(StorageError):  # what does not go away now will be tried again by the next run
        sweep(parent)
    with process.when_killed(_sweeper(parent), env=_environment()):  # first, so that there is no moment without it
        taken: list[tuple[int, Path]] = []
        try:
            with interrupts.held_back(), _making(parent):
                taken.append(_take(parent))
                _make(taken[0][1], uid)
            yield taken[0][1]
        finally:
            with interrupts.held_back():
                for lock, folder in taken:
                    _remove(folder)
                    os.close(lock)


def sweep(parent: Path) -> None:
    """Remove the directories of dead owners below `parent`. Raises `StorageError` when one does not go away."""
    for path in sorted(parent.glob(f"{PREFIX}*{LOCK}")):
        try:
            lock = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue  # gone meanwhile, or another user's
        try:
            with contextlib.suppress(BlockingIOError):  # alive
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path.with_name(path.name.removesuffix(LOCK)))
        finally:
            os.close(lock)


def _sweeper(parent: Path) -> list[str]:
    return [sys.executable, "-P", "-m", "agent_pipeline.workspace.sweep", str(parent)]  # -P: never from where we stand


def _environment() -> dict[str, str]:
    """Return what the sweeper needs to import what we have imported, from wherever that was."""
    where = [str(Path(__file__).resolve().parents[2]), *(path for path in sys.path if Path(path).is_absolute())]
    return {"PYTHONPATH": os.pathsep.join(where)} | process.inherited("PATH")


@contextmanager
def _making(parent: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot make a directory in {parent}: {error.strerror}",
            hint="make room there or make it writable, or set AGENT_PIPELINE_CACHE to another directory",
        ) from error


def _take(parent: Path) -> tuple[int, Path]:
    """Return a fresh name below `parent`, and the lock that is ours as long as we live."""
    parent.mkdir(parents=True, exist_ok=True)
    while True:
        path = parent / f"{PREFIX}{secrets.token_hex(4)}{LOCK}"
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock).st_nlink:
                return lock, path.with_name(path.name.removesuffix(LOCK))
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)  # a sweep came between making and locking it


def _make(folder: Path, uid: int | None) -> None:
    """Make the directory, and in it that of the copy itself."""
    folder.mkdir(mode=0o700)
    if uid is not None:
        os.chown(folder, 0, uid)
        folder.chmod(0o710)
    files = folder / FILES
    files.mkdir(mode=0o755)
    if uid is not None:
        os.chown(files, uid, uid)


def _remove(folder: Path) -> None:
    """Remove the directory, and last the file by which others know of it."""
    bounds.unmount(folder / FILES)
    bounds.unmount(folder / SPACE)
    removal.remove(folder)
    Path(f"{folder}{LOCK}").unlink(missing_ok=True)
