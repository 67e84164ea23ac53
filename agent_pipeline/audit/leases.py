"""Which runs are going on on this machine: a lock file for each, held as long as its process lives.

A lock that can be taken is a run that is over, however it ended; process ids alone could be reused.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from agent_pipeline.audit import events
from agent_pipeline.config import Config
from agent_pipeline.errors import StaleError, StorageError


def _path(config: Config, request: str) -> Path:
    return config.state_dir / "running" / request


@contextlib.contextmanager
def held(config: Config, request: str) -> Iterator[None]:
    """Hold the lease of `request` for the time of a run, and note its beginning and end among this machine's events.

    Raises `StaleError` when a run of it is going on here already, `StorageError` when its file cannot be written.
    """
    path = _path(config, request)
    _sweep(path.parent)
    try:
        file = _take(path)
    except BlockingIOError as error:
        raise StaleError(f"a run of {request} is going on here already", hint="wait for it, or stop it") from error
    except OSError as error:
        raise StorageError(f"the lease {path} cannot be written: {error.strerror}") from error
    with file:
        try:
            events.record(config, "run", "started", request)
            yield
        finally:
            path.unlink(missing_ok=True)
            with contextlib.suppress(StorageError):  # how the run ended is more than that its end was noted
                events.record(config, "run", "ended", request)


def _take(path: Path) -> TextIO:
    """Return the locked file with our process id in it. What another process holds is left as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = path.open("a+", encoding="ascii")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                _write(file, path)
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # the run before removed it between our opening and our locking


def _write(file: TextIO, path: Path) -> None:
    """Write our process id into the file that we hold; nothing is left of it when that fails."""
    try:
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), str(os.getpid()).encode())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _sweep(folder: Path) -> None:
    """Remove the leases of runs that were killed: those that can be taken."""
    for path in folder.glob("*"):
        with contextlib.suppress(OSError), path.open("r+", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def running(config: Config) -> tuple[str, ...]:
    """Return the requests that may be running on this machine: those whose lease lies here."""
    folder = _path(config, "x").parent
    return tuple(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else ()


def interrupt(config: Config, request: str) -> bool:
    """Send SIGTERM to the run of `request` on this machine. Return False when none is going on.

    Not SIGINT, which a run that a script started in the background was told to ignore.
    """
    path = _path(config, request)
    try:
        with path.open("r+", encoding="ascii") as file:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)  # of a run that was killed
                return False
            os.kill(int(file.read()), signal.SIGTERM)
            return True
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return False
