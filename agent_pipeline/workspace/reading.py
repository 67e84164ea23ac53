"""Opening what hostile code left behind: regular files and directories, by handle, never through a link."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agent_pipeline import clock
from agent_pipeline.errors import PolicyError, StorageError

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Non-blocking: if something else than a regular file were opened after all, opening it must not wait for anybody.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CHUNK: Final = 1 << 20


@contextmanager
def folder(name: bytes | Path, parent: int | None = None) -> Iterator[int]:
    """Open a directory. One that its owner made unreadable, or closed to who would look further, is opened first."""
    handle = _open(name, parent, _FOLDER, 0o700)
    try:
        if os.geteuid() != 0 and not os.fstat(handle).st_mode & stat.S_IXUSR:
            os.fchmod(handle, 0o700)  # to read its names takes another right than to look at what they name
        yield handle
    finally:
        os.close(handle)


@contextmanager
def regular(name: bytes, parent: int, expected: os.stat_result) -> Iterator[int]:
    """Open the regular file that `expected` describes. Raises `StorageError` when it is not that file any more."""
    handle = _open(name, parent, _FILE, 0o600)
    try:
        found = os.fstat(handle)
        if (found.st_dev, found.st_ino, found.st_mode & 0o170000) != (
            expected.st_dev,
            expected.st_ino,
            expected.st_mode & 0o170000,
        ):
            raise StorageError("a file was exchanged while it was read: something still runs in the sandbox's files")
        yield handle
    finally:
        os.close(handle)


def names(handle: int) -> list[str]:
    """Return what is in an open directory, in no order; names that are no UTF-8 with surrogates."""
    return os.listdir(handle)


def _open(name: bytes | Path, parent: int | None, flags: int, mode: int) -> int:
    try:
        return os.open(name, flags, dir_fd=parent)
    except PermissionError:
        _make_readable(name, parent, mode)
        return os.open(name, flags, dir_fd=parent)


def _make_readable(name: bytes | Path, parent: int | None, mode: int) -> None:
    with itself(name, parent) as handle:
        if not stat.S_ISLNK(os.fstat(handle).st_mode):
            set_mode(handle, mode)


@contextmanager
def itself(name: str | bytes | Path, parent: int | None) -> Iterator[int]:
    """Hold what has a name now, a link as a link, whatever has that name later. No permissions of it are needed."""
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        yield handle
    finally:
        os.close(handle)


def set_mode(handle: int, mode: int) -> None:
    """Change the mode of what is held and no link: `chmod` by name would follow one that was put in its place."""
    Path(f"/proc/self/fd/{handle}").chmod(mode)


def whole(file: int, size: int, deadline: float) -> bytes:
    """Return a file's `size` bytes. Raises `StorageError` when it has another size, `PolicyError` at `deadline`."""
    content = b"".join(_chunks(file, size, deadline))
    if len(content) != size:
        raise StorageError("a file changed while it was read: something still runs in the sandbox's files")
    return content


def blob_id(content: bytes | str) -> str:
    """Return Git's id of a blob."""
    data = os.fsencode(content) if isinstance(content, str) else content
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def blob_id_of(file: int, size: int, deadline: float) -> str:
    """Return Git's id of a file's content as a blob, without holding it in memory."""
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    for chunk in _chunks(file, size, deadline):
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(file: int, size: int, deadline: float) -> Iterator[bytes]:
    left = size + 1  # one more than there should be, to notice a file that grows
    while left > 0 and (chunk := os.read(file, min(_CHUNK, left))):
        left -= len(chunk)
        if clock.monotonic() > deadline:
            raise PolicyError("reading what changed took too long", hint="the change is too large; ask for less")
        yield chunk
