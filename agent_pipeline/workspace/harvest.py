"""What changed in a copy, read when nothing of its sandbox lives any more.

Every path is compared with the base's tree by content: neither times nor sizes nor the directory's own claims count.
What is there was put there by hostile code: nothing is opened but regular files and directories, by handle, below the
copy's own top, on its own file system, never through a link; and bytes, files, depth and time are bounded.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from agent_pipeline import clock
from agent_pipeline.documents import paths
from agent_pipeline.documents.words import counted
from agent_pipeline.errors import PathError, PolicyError, StorageError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.trees import EXECUTABLE, FILE, GITLINK, SYMLINK, Entry, Put, entries
from agent_pipeline.workspace import reading
from agent_pipeline.workspace.copy import Workspace
from agent_pipeline.workspace.ignoring import Ignored

MAX_LISTED: Final = 1000  # refusals and ignored paths beyond this are counted, not named
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


def harvest(  # noqa: PLR0913 - every bound is the caller's
    clone: Clone,
    workspace: Workspace,
    *,
    ignore: Sequence[str],
    max_bytes: int,
    max_files: int,
    depth: int = paths.MAX_DEPTH,
    seconds: float = 60,
) -> Harvest:
    """Compare `workspace` with the tree it was made from. Only to be called when its sandbox is closed.

    `ignore` are gitignore patterns beside the base's own .gitignore files; they apply to untracked files only. Paths
    that were withheld or left out never count as deleted, and what was made in their place is refused. Raises
    `PolicyError` when there is more than `max_bytes` or `max_files` of change, or it takes more than `seconds`.
    """
    base = {entry.path: entry for entry in entries(clone, workspace.tree)}
    found = _Harvester(
        clone, base, workspace.absent, Ignored(clone, base, ignore), max_bytes, max_files, depth,
        deadline=clock.monotonic() + seconds,
    )  # fmt: skip
    try:
        found.read(workspace)
    except OSError as error:
        raise StorageError(f"cannot read the sandbox's files in {workspace.path}: {error}") from error
    return found.result()


@dataclass(slots=True)
class _Harvester:
    clone: Clone
    base: dict[bytes, Entry]
    absent: frozenset[bytes]
    ignored: Ignored
    max_bytes: int
    max_files: int
    depth: int
    deadline: float
    folders: frozenset[bytes] = frozenset()
    device: int = -1
    total: int = 0
    seen: set[bytes] = field(default_factory=set)
    puts: dict[str, Put] = field(default_factory=dict)
    deletes: list[str] = field(default_factory=list)
    refusals: list[tuple[str, str]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def read(self, workspace: Workspace) -> None:
        """Walk the copy, then say what of the base was not met."""
        self.folders = _parents(self.base)
        with reading.folder(workspace.path) as top:
            self.device = os.fstat(top).st_dev
            self._folder(top, b"", 1)
        for path in self.base.keys() - self.seen - self.absent:
            if (text := _text(path)) is None:
                self._refuse(path, "it is gone, but its name is no UTF-8, so no proposal can name it")
            else:
                self.deletes.append(text)
                self._bound()

    def result(self) -> Harvest:
        """Return everything in the order of the paths."""
        refused, left = len(self.refusals) - MAX_LISTED, len(self.left) - MAX_LISTED
        return Harvest(
            dict(sorted(self.puts.items())),
            tuple(sorted(self.deletes)),
            (*sorted(self.refusals)[:MAX_LISTED], *((("...", f"and {refused} more"),) if refused > 0 else ())),
            (*sorted(self.left)[:MAX_LISTED], *((f"... and {left} more",) if left > 0 else ())),
        )

    def _folder(self, handle: int, prefix: bytes, level: int) -> None:
        for name in reading.names(handle):
            if clock.monotonic() > self.deadline:
                raise PolicyError("reading what changed took too long", hint="the change is too large; ask for less")
            raw = os.fsencode(name)
            self._entry(handle, raw, prefix + raw, level)

    def _entry(self, handle: int, name: bytes, path: bytes, level: int) -> None:
        status = os.lstat(name, dir_fd=handle)
        entry = self.base.get(path)
        folder = stat.S_ISDIR(status.st_mode)
        if path in self.absent:
            self._refuse(path, "it was made where the base has a file that is withheld from agents")
        elif status.st_dev != self.device:
            self._refuse(path, "it lies on another file system")
        elif entry is None and not (folder and path in self.folders) and self._untracked(name, path, folder=folder):
            return
        elif folder:
            self._descend(handle, name, path, entry, level)
        else:
            if entry is not None:
                self.seen.add(path)
            self._leaf(handle, name, path, entry, status)

    def _untracked(self, name: bytes, path: bytes, *, folder: bool) -> bool:
        """Return True when a path that the base does not have needs no further look: refused or ignored."""
        text = _shown(name)
        if paths.is_git_directory(text):
            self._refuse(path, "it is a Git directory or points to one; it is not read")
        elif self.ignored.match(path, folder=folder):
            self.left.append(paths.visible(_shown(path)) + ("/" if folder else ""))
        elif (reason := paths.reason_against(text)) is not None:
            self._refuse(path, reason)
        else:
            return False
        return True

    def _descend(self, handle: int, name: bytes, path: bytes, entry: Entry | None, level: int) -> None:
        known = path in self.folders
        if not known and level >= self.depth:
            self._refuse(path, f"it is deeper than {self.depth} directories")
            return
        with reading.folder(name, handle) as below:
            if entry is not None and entry.mode == GITLINK:
                self.seen.add(path)
                if reading.names(below):
                    self._refuse(path, "it is a submodule, and files were made inside it")
                return
            self._folder(below, path + b"/", level + 1)

    def _leaf(self, handle: int, name: bytes, path: bytes, entry: Entry | None, status: os.stat_result) -> None:
        if stat.S_ISLNK(status.st_mode) and entry is not None and entry.mode == SYMLINK:
            if reading.blob_id(os.readlink(name, dir_fd=handle)) != entry.oid:
                self._refuse(path, "it is a symbolic link that leads elsewhere now")
        elif not stat.S_ISREG(status.st_mode):
            self._refuse(path, next((why for is_kind, why in _KINDS if is_kind(status.st_mode)), "it is no file"))
        elif entry is not None and entry.mode in _LINKS:
            self._refuse(path, f"in the base it is {_LINKS[entry.mode]}")
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
            self._refuse(path, error.message)
            return
        self.total += len(content)
        if self.total > self.max_bytes:
            self._too_large(path)
        self.puts[_shown(path)] = Put(content, mode)
        self._bound()

    def _same_large(self, file: int, entry: Entry, size: int) -> bool:
        return self.clone.size(entry.oid) == size and reading.blob_id_of(file, size, self.deadline) == entry.oid

    def _too_large(self, path: bytes) -> None:
        raise PolicyError(
            f"the changed files have more than {self.max_bytes} bytes (`{paths.visible(_shown(path))}`)",
            hint="build output belongs into the ignore patterns (`paths.ignore` in the policy, or .gitignore)",
        )

    def _bound(self) -> None:
        if len(self.puts) + len(self.deletes) > self.max_files:
            raise PolicyError(
                f"more than {counted(self.max_files, 'file')} changed",
                hint="build output belongs into the ignore patterns (`paths.ignore` in the policy, or .gitignore)",
            )

    def _refuse(self, path: bytes, reason: str) -> None:
        self.refusals.append((paths.visible(_shown(path)), reason))


def _shown(path: bytes) -> str:
    """Return the name as Git has it, UTF-8 whatever the locale; other bytes become surrogates."""
    return path.decode("utf-8", "surrogateescape")


def _text(path: bytes) -> str | None:
    try:
        return path.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _parents(files: Iterable[bytes]) -> frozenset[bytes]:
    """Return every directory that holds one of `files`."""
    found: set[bytes] = set()
    for path in files:
        end = path.rfind(b"/")
        while end > 0 and path[:end] not in found:
            found.add(path[:end])
            end = path.rfind(b"/", 0, end)
    return frozenset(found)
