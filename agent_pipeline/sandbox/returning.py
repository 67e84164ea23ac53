"""Bringing a workspace up to what an archive of it says: in the end, the directory has what the archive has.

What is the same stays untouched, so that of an overlay only the change is written. Everything is done by handle, below
the directory's own top and through no link; the archive's paths were checked by `parcels`. Sockets are not there:
no archive carries them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

from agent_pipeline import clock
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox.parcels import FILE, FOLDER, HARD, LINK, BrokenParcelError, Item, Parcel

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK: Final = 1 << 16
_Path = tuple[bytes, ...]


def bring_back(parcel: Parcel, workspace: Path, seconds: float) -> None:
    """Make `workspace` what `parcel` says. Raises `SandboxError`, also after so many `seconds`."""
    until = clock.monotonic() + seconds
    try:
        with Returning(workspace) as returning:
            for item in parcel.items():
                if clock.monotonic() > until:
                    raise SandboxError("reading what the sandbox left took too long", hint="ask for less")
                returning.take(item, parcel.content())
            returning.remove_the_rest()
    except OSError as error:
        raise SandboxError(f"what the sandbox left cannot be written to {workspace}: {error.strerror}") from error


class Returning:
    """One archive on its way into a directory. Holds the directories that lead to the present entry open."""

    def __init__(self, workspace: Path) -> None:
        """Open the directory."""
        self._open: list[tuple[bytes, int]] = [(b"", os.open(workspace, _OPEN))]
        self._names: dict[_Path, dict[bytes, bytes]] = {}  # of each directory of the archive: names, and of what kind

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close everything."""
        while self._open:
            os.close(self._open.pop()[1])

    def take(self, item: Item, content: Iterable[bytes]) -> None:
        """Make one entry what the archive says. Its directory came before it, and it comes once."""
        if not item.path:
            self._names.setdefault((), {})
            return
        above, name = item.path[:-1], item.path[-1]
        if above not in self._names or name in self._names[above]:
            raise BrokenParcelError("an entry without its directory, or twice")
        self._names[above][name] = item.kind
        parent = self._handle(above)
        if item.kind == FOLDER:
            self._names[item.path] = {}
            _folder(parent, name)
        elif item.kind == FILE:
            _file(parent, name, content, executable=item.executable)
        elif item.kind == HARD:
            self._hard(parent, name, item)
        else:
            _special(parent, name, item)

    def remove_the_rest(self) -> None:
        """Remove what the archive does not have."""
        if () not in self._names:
            raise BrokenParcelError("it has no top")
        for path, names in self._names.items():
            handle = self._handle(path)
            for found in os.listdir(handle):  # noqa: PTH208 - a descriptor
                if os.fsencode(found) not in names:
                    _remove(handle, os.fsencode(found))

    def _handle(self, path: _Path) -> int:
        """Return a handle of a directory of the archive, which was made by now."""
        common = 0
        while common < min(len(path), len(self._open) - 1) and self._open[common + 1][0] == path[common]:
            common += 1
        while len(self._open) > common + 1:
            os.close(self._open.pop()[1])
        for name in path[common:]:
            self._open.append((name, os.open(name, _OPEN, dir_fd=self._open[-1][1])))
        return self._open[-1][1]

    def _hard(self, parent: int, name: bytes, item: Item) -> None:
        """Copy what a hard link names: an earlier file of the archive."""
        assert isinstance(item.link, tuple)  # noqa: S101 - as `parcels` has it
        if not item.link or self._names.get(item.link[:-1], {}).get(item.link[-1]) not in {FILE, HARD}:
            raise BrokenParcelError("a hard link to no file of it")
        here = os.dup(parent)
        try:
            source = os.open(item.link[-1], _READ, dir_fd=self._handle(item.link[:-1]))
            try:
                executable = bool(os.fstat(source).st_mode & stat.S_IXUSR)
                _file(here, name, iter(lambda: os.read(source, _CHUNK), b""), executable=executable)
            finally:
                os.close(source)
        finally:
            os.close(here)


def _kind(parent: int, name: bytes) -> int:
    """Return what lies there, 0 for nothing."""
    try:
        return stat.S_IFMT(os.lstat(name, dir_fd=parent).st_mode)
    except FileNotFoundError:
        return 0


def _remove(parent: int, name: bytes) -> None:
    kind = _kind(parent, name)
    if kind == stat.S_IFDIR:
        shutil.rmtree(name, dir_fd=parent)
    elif kind:
        os.unlink(name, dir_fd=parent)


def _folder(parent: int, name: bytes) -> None:
    if _kind(parent, name) != stat.S_IFDIR:
        _remove(parent, name)
        os.mkdir(name, 0o755, dir_fd=parent)


def _special(parent: int, name: bytes, item: Item) -> None:
    """Make a symbolic link or a pipe."""
    link = item.link if item.kind == LINK else None
    if link is not None and _kind(parent, name) == stat.S_IFLNK and os.readlink(name, dir_fd=parent) == link:
        return
    _remove(parent, name)
    if isinstance(link, bytes):
        os.symlink(link, name, dir_fd=parent)
    else:
        os.mkfifo(name, 0o600, dir_fd=parent)


def _file(parent: int, name: bytes, content: Iterable[bytes], *, executable: bool) -> None:
    """Make a file have this content, written only from where it differs from what is there."""
    mode = 0o755 if executable else 0o644
    if _kind(parent, name) != stat.S_IFREG:
        _remove(parent, name)
        _write(parent, name, [], content, mode)
        return
    before = os.open(name, _READ, dir_fd=parent)
    try:
        same, pieces = 0, iter(content)
        for piece in pieces:
            if os.pread(before, len(piece), same) != piece:
                _write(parent, name, _first(before, same), _chain(piece, pieces), mode)
                return
            same += len(piece)
        if same != os.fstat(before).st_size:
            _write(parent, name, _first(before, same), [], mode)
        elif bool(os.fstat(before).st_mode & stat.S_IXUSR) != executable:
            os.fchmod(before, mode)
    finally:
        os.close(before)


def _first(file: int, size: int) -> Iterable[bytes]:
    at = 0
    while at < size and (piece := os.pread(file, min(_CHUNK, size - at), at)):
        at += len(piece)
        yield piece


def _chain(piece: bytes, rest: Iterable[bytes]) -> Iterable[bytes]:
    yield piece
    yield from rest


def _write(parent: int, name: bytes, first: Iterable[bytes], rest: Iterable[bytes], mode: int) -> None:
    """Write a file anew, whole or not at all."""
    beside = f".agent-pipeline-{secrets.token_hex(8)}".encode()
    file = os.open(beside, _WRITE, 0o600, dir_fd=parent)
    try:
        with os.fdopen(file, "wb") as new:
            for pieces in (first, rest):
                for piece in pieces:
                    new.write(piece)
            os.fchmod(new.fileno(), mode)
        os.rename(beside, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        os.unlink(beside, dir_fd=parent)
        raise
