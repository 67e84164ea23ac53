"""What one look at a copy found, entry by entry: judged against the base, read by handle, bounded."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from agent_pipeline import clock
from agent_pipeline.documents import paths
from agent_pipeline.documents.characters import visible
from agent_pipeline.documents.words import counted
from agent_pipeline.errors import PathError, PolicyError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.trees import EXECUTABLE, FILE, GITLINK, SYMLINK, Entry, Put
from agent_pipeline.workspace import reading
from agent_pipeline.workspace.ignoring import Ignored

T = TypeVar("T", str, tuple[str, str])
MAX_LISTED: Final = 1000  # refusals and ignored paths beyond this are counted, not named
WITHHELD: Final = "it was made where the base has a file that is withheld from agents"
LEFT_OUT: Final = "it was made where the base has something that no copy can hold"
_LINKS: Final = {SYMLINK: "a symbolic link", GITLINK: "a submodule"}
_KINDS: Final = (
    (stat.S_ISLNK, "it is a symbolic link"),
    (stat.S_ISSOCK, "it is a socket"),
    (stat.S_ISFIFO, "it is a named pipe"),
    (stat.S_ISBLK, "it is a block device"),
    (stat.S_ISCHR, "it is a character device"),
)


@dataclass(frozen=True, slots=True)
class Harvest:
    """The change: full contents of what is new or different, paths that are gone.

    `refused`: what no proposal can carry, each with its reason, for people. `ignored`: untracked files that were left
    out by the ignore patterns; a directory stands for all below it and ends in `/`.
    """

    puts: dict[str, Put]
    deletes: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]


@dataclass(slots=True)
class Listed(Generic[T]):
    """The first `MAX_LISTED` in order of all that is added, and how many there are: hostile code can make millions."""

    items: list[T] = field(default_factory=list)
    dropped: int = 0

    def add(self, item: T) -> None:
        """Add one more."""
        self.items.append(item)
        if len(self.items) > 4 * MAX_LISTED:
            self._cut()

    def first(self) -> tuple[list[T], int]:
        """Return the first in order, and the number of all others."""
        self._cut()
        return self.items, self.dropped

    def _cut(self) -> None:
        self.items.sort()
        self.dropped += max(len(self.items) - MAX_LISTED, 0)
        del self.items[MAX_LISTED:]


@dataclass(slots=True)
class Findings:
    """Collects what differs from the base. `deadline` is on the monotonic clock."""

    clone: Clone
    ignored: Ignored
    max_bytes: int
    max_files: int
    depth: int
    deadline: float
    total: int = 0
    puts: dict[str, Put] = field(default_factory=dict)
    deletes: list[str] = field(default_factory=list)
    refusals: Listed[tuple[str, str]] = field(default_factory=Listed)
    left: Listed[str] = field(default_factory=Listed)

    def result(self) -> Harvest:
        """Return everything in the order of the paths."""
        (refused, more), (left, others) = self.refusals.first(), self.left.first()
        return Harvest(
            dict(sorted(self.puts.items())),
            tuple(sorted(self.deletes)),
            (*refused, *((("...", f"and {more} more"),) if more else ())),
            (*left, *((f"... and {others} more",) if others else ())),
        )

    def in_time(self) -> None:
        """Raise `PolicyError` when the deadline has passed."""
        if clock.monotonic() > self.deadline:
            raise PolicyError("reading what changed took too long", hint="the change is too large; ask for less")

    def untracked(self, name: bytes, path: bytes, *, folder: bool) -> bool:
        """Return True when a path that the base does not have needs no further look: refused or ignored."""
        text = _shown(name)
        if paths.is_git_directory(text):
            self.refuse(path, "it is a Git directory or points to one; it is not read")
        elif self.ignored.match(path, folder=folder):
            self.left.add(visible(_shown(path)) + ("/" if folder else ""))
        elif (reason := paths.reason_against(text)) is not None:
            self.refuse(path, reason)
        else:
            return False
        return True

    def too_deep(self, path: bytes, level: int) -> bool:
        """Return True when a directory that the base does not have lies too deep, and refuse it."""
        if level >= self.depth:
            self.refuse(path, f"it is deeper than {self.depth} directories")
        return level >= self.depth

    def in_submodule(self, path: bytes, below: int) -> None:
        """Refuse what was made in a submodule's directory, which is open as `below`."""
        if reading.names(below):
            self.refuse(path, "it is a submodule, and files were made inside it")

    def leaf(self, handle: int, name: bytes, path: bytes, entry: Entry | None, status: os.stat_result) -> None:
        """Judge what is no directory: `entry` is the base's file, link or submodule at that path."""
        if stat.S_ISLNK(status.st_mode) and entry is not None and entry.mode == SYMLINK:
            if reading.blob_id(os.readlink(name, dir_fd=handle)) != entry.oid:
                self.refuse(path, "it is a symbolic link that leads elsewhere now")
        elif not stat.S_ISREG(status.st_mode):
            self.refuse(path, next((why for is_kind, why in _KINDS if is_kind(status.st_mode)), "it is no file"))
        elif entry is not None and entry.mode in _LINKS:
            self.refuse(path, f"in the base it is {_LINKS[entry.mode]}")
        else:
            self._file(handle, name, path, entry, status)

    def _file(self, handle: int, name: bytes, path: bytes, entry: Entry | None, status: os.stat_result) -> None:
        mode = EXECUTABLE if status.st_mode & stat.S_IXUSR else FILE
        with reading.regular(name, handle, status) as file:
            if status.st_size > self.max_bytes:
                if entry is None or entry.mode != mode or not self._same_large(file, entry, status.st_size):
                    self._too_large(path)
                return
            content = reading.whole(file, status.st_size, self.deadline)
        if entry is not None and entry.mode == mode and reading.blob_id(content) == entry.oid:
            return
        try:
            paths.check(_shown(path))
        except PathError as error:
            self.refuse(path, error.message)
            return
        self.total += len(content)
        if self.total > self.max_bytes:
            self._too_large(path)
        self.puts[_shown(path)] = Put(content, mode)
        self._bound()

    def _same_large(self, file: int, entry: Entry, size: int) -> bool:
        return self.clone.size(entry.oid) == size and reading.blob_id_of(file, size, self.deadline) == entry.oid

    def gone(self, path: bytes) -> None:
        """Note that a file, link or submodule of the base is not there any more."""
        try:
            text = path.decode("utf-8")
        except UnicodeDecodeError:
            self.refuse(path, "it is gone, but its name is no UTF-8, so no proposal can name it")
            return
        self.deletes.append(text)
        self._bound()

    def refuse(self, path: bytes, reason: str) -> None:
        """Note what no proposal can carry, for people."""
        self.refusals.add((visible(_shown(path)), reason))

    def absent(self, path: bytes, *, left_out: bool) -> None:
        """Refuse what was made in place of a path that the copy did not have."""
        self.refuse(path, LEFT_OUT if left_out else WITHHELD)

    def elsewhere(self, path: bytes) -> None:
        """Refuse what is mounted into the copy."""
        self.refuse(path, "it lies on another file system")

    def _too_large(self, path: bytes) -> None:
        raise PolicyError(
            f"the changed files have more than {self.max_bytes} bytes (`{visible(_shown(path))}`)",
            hint="build output belongs into the ignore patterns (`paths.ignore` in the policy, or .gitignore)",
        )

    def _bound(self) -> None:
        if len(self.puts) + len(self.deletes) > self.max_files:
            raise PolicyError(
                f"more than {counted(self.max_files, 'file')} changed",
                hint="build output belongs into the ignore patterns (`paths.ignore` in the policy, or .gitignore)",
            )


def _shown(path: bytes) -> str:
    """Return the name as Git has it, UTF-8 whatever the locale; other bytes become surrogates."""
    return path.decode("utf-8", "surrogateescape")
