"""What is made here and could outlive a `kill -9`: written down before it is made, until it is seen to be gone.

A container that was created but not started, one that an engine cannot end, a control group that nobody joined:
nothing ends these by itself. An intent is a file in the runs directory, locked by whoever wrote it, and so a lease: a
lock that can be had means that its owner is dead (no process number is ever compared), and a sweep removes what it
names: the watcher's, which wakes up when we die, or the next start's. Only the caller's own directory is looked at, so
nothing of another user's or of a living run's is touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent_pipeline import process
from agent_pipeline.errors import StorageError

_WRITTEN, _BEING_WRITTEN = ".intent", ".intent-new"
_MADE: Final = "\n+"  # after the last name
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Intent:
    """What is written down; `descriptor` is the locked file."""

    descriptor: int

    def made(self) -> None:
        """Write down that everything is there now: who sweeps need not wait for it. Raises `StorageError`."""
        try:
            os.write(self.descriptor, _MADE.encode())
        except OSError as error:
            raise StorageError(f"what was started cannot be written down: {error.strerror}") from error


@contextlib.contextmanager
def intent(folder: Path, kind: str, names: Sequence[str]) -> Iterator[Intent]:
    """Write down that `names` of `kind` are about to be made; forget it when the block is left alive.

    Raises `StorageError` when it cannot be written.
    """
    with _watched(folder):  # first, so that there is no moment without it
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path, descriptor = _write(folder, kind, names)
        except OSError as error:
            raise StorageError(
                f"{folder}: {error.strerror}", hint="make the cache directory writable, or set AGENT_PIPELINE_CACHE"
            ) from error
        try:
            yield Intent(descriptor)
        finally:
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(descriptor)


def named(folder: Path) -> frozenset[str]:
    """Return everything that is written down in `folder`, by the living and the dead."""
    texts = []
    for path in folder.glob(f"*{_WRITTEN}") if folder.is_dir() else ():
        with contextlib.suppress(OSError):  # forgotten meanwhile
            texts.append(path.read_text("utf-8", "replace"))
    return frozenset(line for text in texts for line in text.splitlines()[1:])


def _watched(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Have a process wait for our death, and then sweep `folder`."""
    package = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-P", "-m", "agent_pipeline.sandbox.sweep", str(folder)]  # -P: never from where we stand
    env = {"PYTHONPATH": str(package)} | process.inherited("PATH", "DOCKER_HOST", "HOME")
    return process.when_killed(command, env=env)


def sweep(folder: Path, removers: Mapping[str, Callable[[str], None]]) -> tuple[str, ...]:
    """Remove what dead owners left, each name by the remover of its kind; return the names.

    What was made by then has the remover of `made KIND`, if there is one. An intent of a kind without remover stays, as
    does one whose remover raises.
    """
    removed: list[str] = []
    for path in sorted(folder.glob(f"*{_WRITTEN}*")) if folder.is_dir() else ():
        with _dead(path) as text:
            if text is None:
                continue
            kind, *names = text.removesuffix(_MADE).splitlines() or [""]
            if text.endswith(_MADE) and f"made {kind}" in removers:
                kind = f"made {kind}"
            if path.suffix == _WRITTEN and kind not in removers:
                continue
            for name in names if path.suffix == _WRITTEN else ():
                removers[kind](name)
                removed.append(name)
            path.unlink(missing_ok=True)
    return tuple(removed)


def _write(folder: Path, kind: str, names: Sequence[str]) -> tuple[Path, int]:
    for _ in range(_TRIES):
        name = secrets.token_hex(8)
        new, path = folder / f"{name}{_BEING_WRITTEN}", folder / f"{name}{_WRITTEN}"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.write(descriptor, "\n".join((kind, *names)).encode())
            new.rename(path)
        except FileNotFoundError:  # a sweep came between making and locking it
            os.close(descriptor)
            continue
        except BaseException:
            new.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        return path, descriptor
    raise FileNotFoundError(2, "intents vanish as they are written")


@contextlib.contextmanager
def _dead(path: Path) -> Iterator[str | None]:
    """Hold the lock of an intent whose owner is dead, and hand out its text; None when the owner lives."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        yield None
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield None
    else:
        yield os.read(descriptor, 1 << 16).decode("utf-8", "replace")
    finally:
        os.close(descriptor)
