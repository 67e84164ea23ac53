"""From a tree's objects to files, directory by directory, through handles that cannot be led elsewhere."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent_pipeline.documents.paths import is_git_directory
from agent_pipeline.errors import GitError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.listing import EXECUTABLE, GITLINK, SYMLINK, TREE, Entry, children, content, entries

MAX_DEPTH: Final = 200
_BLOCK: Final = 4096  # of most file systems
_MAX_NAME: Final = 255
_MAX_PATH: Final = 4095 - len("/workspace/")
_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Copied:
    """What was not written: paths that may not be read, and those that no directory can hold.

    `size` is about how many bytes the rest takes on a disk, of `max_bytes` that it may.
    """

    max_bytes: int | None = None
    withheld: list[bytes] = field(default_factory=list)
    left_out: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, size: int) -> None:
        """Count a file of `size` bytes. Raises `OSError` when that is more than there may be."""
        self.size += -(-size // _BLOCK) * _BLOCK + _BLOCK
        if self.max_bytes is not None and self.size > self.max_bytes:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))  # ours: the disk may have more


@dataclass(slots=True)
class _Folder:
    """A directory that is made when the first file goes into it, so that withheld directories do not show."""

    name: bytes
    parent: _Folder | None
    owner: int | None
    depth: int = 0
    handle: int | None = None

    def open(self) -> int:
        if self.handle is None:
            assert self.parent is not None  # noqa: S101 - the top is opened before anything is written
            above = self.parent.open()
            os.mkdir(self.name, 0o755, dir_fd=above)
            self.handle = os.open(self.name, _OPEN, dir_fd=above)
            _own(self.handle, self.owner, 0o755)
        return self.handle

    def close(self) -> None:
        if self.handle is not None:
            os.close(self.handle)
            self.handle = None


def materialise(
    clone: Clone,
    tree: str,
    folder: Path,
    may_read: Callable[[str], bool],
    owner: int | None,
    max_bytes: int | None = None,
) -> Copied:
    """Write `tree` into the empty directory `folder`.

    Raises `OSError` when it does not fit, on the file system or into `max_bytes`, `GitError`.
    """
    copied = Copied(max_bytes)
    top = _Folder(b"", None, owner, handle=os.open(folder, _OPEN))
    try:
        _directory(clone, tree, b"", top, may_read, copied)
    except FileExistsError as error:
        raise GitError(f"tree {tree} names a file twice: it is damaged", hint="see `git fsck`") from error
    finally:
        top.close()
    return copied


def _directory(
    clone: Clone, tree: str, prefix: bytes, folder: _Folder, may_read: Callable[[str], bool], copied: Copied
) -> None:
    for item in children(clone, tree):
        name, path = item.path, prefix + item.path
        is_folder = item.mode == TREE
        if not _can_be_held(name, path, folder.depth):
            copied.left_out += _below(clone, item, path) if is_folder else [path]
        elif is_folder:
            below = _Folder(name, folder, folder.owner, folder.depth + 1)
            try:
                _directory(clone, item.oid, path + b"/", below, may_read, copied)
            finally:
                below.close()
        elif not may_read(path.decode("utf-8", "surrogateescape")):
            copied.withheld.append(path)
        elif (size := _write(clone, item, folder)) is None:
            copied.left_out.append(path)
        else:
            copied.add(size)


def _can_be_held(name: bytes, path: bytes, depth: int) -> bool:
    odd = name in {b"", b".", b".."} or b"/" in name or is_git_directory(name.decode("utf-8", "surrogateescape"))
    return not odd and len(name) <= _MAX_NAME and len(path) <= _MAX_PATH and depth < MAX_DEPTH


def _below(clone: Clone, item: Entry, path: bytes) -> list[bytes]:
    return [path + b"/" + entry.path for entry in entries(clone, item.oid)]


def _write(clone: Clone, item: Entry, folder: _Folder) -> int | None:
    """Write one file, link or submodule's directory. Return its size, None for a link that cannot be made."""
    name, mode = item.path, item.mode
    if mode == GITLINK:
        submodule = _Folder(name, folder, folder.owner)
        submodule.open()
        submodule.close()
        return 0
    rest = _content(clone, item.oid, folder.open())
    if mode == SYMLINK:
        return 0 if _link(bytes(rest), name, folder) else None
    size = len(rest)
    handle = os.open(name, _CREATE, 0o600, dir_fd=folder.open())
    try:
        while rest:
            rest = rest[os.write(handle, rest) :]
        _own(handle, folder.owner, 0o755 if mode == EXECUTABLE else 0o644)
    finally:
        os.close(handle)
    return size


def _content(clone: Clone, oid: str, folder: int) -> memoryview:
    room = os.fstatvfs(folder)
    if clone.size(oid) > room.f_bavail * room.f_frsize:  # before it is unpacked into memory
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return content(clone, oid)


def _link(target: bytes, name: bytes, folder: _Folder) -> bool:
    above = folder.open()
    if not target or b"\0" in target or len(target) > _MAX_PATH:
        return False
    os.symlink(target, name, dir_fd=above)
    if folder.owner is not None:
        os.chown(name, folder.owner, folder.owner, dir_fd=above, follow_symlinks=False)
    return True


def _own(handle: int, owner: int | None, mode: int) -> None:
    if owner is not None:
        os.fchown(handle, owner, owner)
    os.fchmod(handle, mode)
