"""The lower directories of overlays: each holds the readable paths of one tree, is made once and never changed.

An entry is `<cache>/<key>/`: `files/`, the lists of what is not in it, and, written last, a note of what it is. It is
made under another name and renamed when it is whole. Whoever uses one holds a shared lock on it; whoever removes one
holds it alone: nothing in use is ever removed. Makers and removers take turns; using what is there needs no turn.

The workload's own files are in it, so the cache is closed to everybody else, and the workload reaches it through
read-only layers alone. An entry counts for the boot that made it: nobody knows what a machine that went down lost.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent_pipeline.errors import StorageError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.listing import entries
from agent_pipeline.version import VERSION
from agent_pipeline.workspace import removal
from agent_pipeline.workspace.materialise import Copied, materialise

MAX_BYTES: Final = 8 << 30
FILES: Final = "files"
_FORMAT: Final = 1
_NOTE, _WITHHELD, _LEFT_OUT = "made.json", "withheld", "left-out"
_MAKING, _OLD = ".making-", ".old-"
_TURN: Final = ".turn"
_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Lower:
    """An entry that is held. `left_out` says whether its list of paths that no directory can hold has any."""

    entry: Path
    left_out: bool

    @property
    def files(self) -> Path:
        """The immutable directory."""
        return self.entry / FILES

    def missing(self) -> Copied:
        """Read what of the tree is not in it. Raises `StorageError`."""
        try:
            return Copied(None, _read(self.entry / _WITHHELD), _read(self.entry / _LEFT_OUT))
        except OSError as error:
            raise StorageError(f"cannot read {self.entry}: {error.strerror}", hint="try again") from error


class Lowers:
    """The cache in one directory, of at most `max_bytes` beside what is in use."""

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        """Take the directory; it need not exist."""
        self.folder, self._max_bytes = folder, max_bytes

    def key(self, tree: str, scope: str, owner: int | None) -> str:
        """Return the name of the entry for `tree` as far as the read scope `scope` shows it, owned by `owner`."""
        # The version too: what a policy's patterns let through is for this program to say.
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        words = [_FORMAT, VERSION, tree, scope, os.geteuid() if owner is None else owner, boot]
        return hashlib.sha256(json.dumps(words).encode()).hexdigest()

    @contextmanager
    def held(self, key: str) -> Iterator[Lower | None]:
        """Hold the entry `key` for the block; None when it is not there, not whole, or not as it was made."""
        entry, lease = self.folder / key, -1
        try:
            lease = os.open(entry, _OPEN)
            fcntl.flock(lease, fcntl.LOCK_SH | fcntl.LOCK_NB)  # refused while somebody removes it
            note = _note(entry) if os.path.samestat(os.fstat(lease), os.lstat(entry)) else None
            if note is not None:
                os.utime(entry / _NOTE)  # for eviction, which begins with what was not used for longest
        except (OSError, ValueError):
            note = None
        try:
            yield Lower(entry, bool(note["left_out"])) if note is not None else None
        finally:
            if lease >= 0:
                os.close(lease)

    @contextmanager
    def made(
        self, key: str, clone: Clone, tree: str, may_read: Callable[[str], bool], owner: int | None
    ) -> Iterator[Lower | None]:
        """Hold the entry `key`, made now unless somebody did meanwhile; others that nobody uses go to make room.

        It is held before the turn is over: no other maker can evict what was just made. None when it does not stay as
        it was made. Raises `OSError` when it does not fit, `GitError` when an object is missing.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        with contextlib.ExitStack() as stack:
            with (self.folder / _TURN).open("wb") as turn:
                fcntl.flock(turn, fcntl.LOCK_EX)
                self._sweep()
                lower = stack.enter_context(self.held(key))
                if lower is None:
                    self._make_with_room(key, clone, tree, may_read, owner)
                    lower = stack.enter_context(self.held(key))
            yield lower

    def _make_with_room(
        self, key: str, clone: Clone, tree: str, may_read: Callable[[str], bool], owner: int | None
    ) -> None:
        for _ in entries(clone, tree):
            pass  # which ends for a tree that unfolds without end
        self._put_away(key)
        try:
            self._make(key, clone, tree, may_read, owner)
        except OSError as error:
            if error.errno != errno.ENOSPC or not self._evict(key, 0):
                raise
            self._make(key, clone, tree, may_read, owner)  # there was room that nobody uses
        self._evict(key, self._max_bytes)

    def _make(self, key: str, clone: Clone, tree: str, may_read: Callable[[str], bool], owner: int | None) -> None:
        making = Path(tempfile.mkdtemp(prefix=_MAKING, dir=self.folder))
        try:
            files = making / FILES
            files.mkdir(mode=0o755)
            if owner is not None:
                os.chown(files, owner, owner)
            copied = materialise(clone, tree, files, may_read, owner, self._max_bytes)
            (making / _WITHHELD).write_bytes(b"\0".join(copied.withheld))
            (making / _LEFT_OUT).write_bytes(b"\0".join(copied.left_out))
            note = {"bytes": copied.size, "left_out": len(copied.left_out), "sizes": _sizes(making), "top": _top(files)}
            (making / _NOTE).write_text(json.dumps(note), encoding="ascii")
            making.rename(self.folder / key)
        except BaseException:
            removal.remove(making)
            raise

    def _put_away(self, key: str) -> None:
        """Give a damaged entry another name: who still uses it keeps it, and nobody else gets it."""
        with contextlib.suppress(FileNotFoundError):
            self._rename_away(self.folder / key)

    def _rename_away(self, entry: Path) -> Path:
        return entry.rename(self.folder / f"{_OLD}{secrets.token_hex(8)}")

    def _sweep(self) -> None:
        """Remove what was put away and what dead makers left: the living take turns."""
        for stale in (*self.folder.glob(f"{_MAKING}*"), *self.folder.glob(f"{_OLD}*")):
            self._remove(stale)

    def _evict(self, keep: str, max_bytes: int) -> bool:
        """Remove the entries that were not used for longest, until the rest is small enough.

        Return whether any went.
        """
        found = []
        for entry in self.folder.iterdir():
            if entry.name.startswith("."):
                continue
            note = _note(entry)
            used = (entry / _NOTE).stat().st_mtime_ns if note is not None else 0
            found.append((used, int(note["bytes"]) if note is not None else 0, entry))
        total, gone = sum(size for _, size, _ in found), False
        for used, size, entry in sorted(found):
            if entry.name != keep and (total > max_bytes or not used) and self._remove(entry):
                total, gone = total - size, True
        return gone

    def _remove(self, entry: Path) -> bool:
        """Remove an entry that nobody holds. Return whether it is gone."""
        try:
            lock = os.open(entry, _OPEN)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not entry.name.startswith("."):
                entry = self._rename_away(entry)
            removal.remove(entry)
        except OSError:
            return False
        finally:
            os.close(lock)
        return True


def _note(entry: Path) -> dict[str, Any] | None:
    """Return what an entry says of itself, if that is still so. In constant time: no tree is walked."""
    try:
        note = json.loads((entry / _NOTE).read_bytes())
        whole = note["top"] == _top(entry / FILES) and note["sizes"] == _sizes(entry)
        return note if whole and int(note["bytes"]) >= 0 and int(note["left_out"]) >= 0 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _top(files: Path) -> list[int]:
    found = os.lstat(files)
    return [found.st_ino, found.st_mode, found.st_uid, found.st_mtime_ns, found.st_ctime_ns]


def _sizes(entry: Path) -> list[int]:
    return [os.lstat(entry / name).st_size for name in (_WITHHELD, _LEFT_OUT)]


def _read(file: Path) -> list[bytes]:
    data = file.read_bytes()
    return data.split(b"\0") if data else []
