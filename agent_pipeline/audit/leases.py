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

from agent_pipeline.config import Config


def _path(config: Config, request: str) -> Path:
    return config.state_dir / "running" / request


@contextlib.contextmanager
def held(config: Config, request: str) -> Iterator[None]:
    """Hold the lease of `request` for the time of a run."""
    path = _path(config, request)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def interrupt(config: Config, request: str) -> bool:
    """Send SIGINT to the run of `request` on this machine. Return False when none is going on."""
    path = _path(config, request)
    try:
        with path.open("r+", encoding="ascii") as file:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return False
            os.kill(int(file.read()), signal.SIGINT)
            return True
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return False
