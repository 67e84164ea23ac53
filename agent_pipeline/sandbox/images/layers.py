"""Layers in one canonical form: the same files are the same bytes, whoever writes them.

A layer is a tar archive of directories, files and symbolic links, nothing else; sorted by path, every parent written
out, owned by root, modes reduced to "may it be executed", one fixed time, no extended attributes. Layers only add and
replace: there are no whiteouts. `check` accepts a layer only if writing it again gives the same bytes, so that no two
readers of tar archives can see different things in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from agent_pipeline.errors import RejectedError

# 2024-01-01: fixed, and after 1980, so that zip archives can be made of these files.
EPOCH: Final = 1704067200
MAX_ENTRIES: Final = 300_000
MAX_BYTES: Final = 8 << 30
_MAX_HEADER: Final = 64 << 10
_MAX_PATH: Final = 1024
_BLOCK: Final = 512
DIRECTORY, FILE, LINK = tarfile.DIRTYPE, tarfile.REGTYPE, tarfile.SYMTYPE
# What the sandbox mounts over or relies on must be plain directories (CVE-2026-41579: an image with /dev as a link).
_DIRECTORIES: Final = ("dev", "etc", "home", "opt", "proc", "run", "sys", "tmp", "usr", "workspace")


@dataclass(frozen=True, slots=True)
class Entry:
    """A directory, a link, or a file with its content.

    The content is in memory, or `size` bytes at `offset` of the open file `source`, or `size` bytes in `file`.
    """

    path: str
    kind: bytes
    executable: bool = False
    content: bytes = b""
    link: str = ""
    source: IO[bytes] | None = None
    file: Path | None = None
    offset: int = 0
    size: int = 0

    def header(self) -> tarfile.TarInfo:
        """Return the canonical header."""
        info = tarfile.TarInfo(self.path)
        info.type, info.mtime, info.linkname = self.kind, EPOCH, self.link
        # An engine gives a tmpfs the mode of the directory below it.
        folder = 0o1777 if self.path == "tmp" else 0o755
        info.mode = {DIRECTORY: folder, LINK: 0o777}.get(self.kind, 0o755 if self.executable else 0o644)
        if self.kind == FILE:
            info.size = len(self.content) if self.source is None and self.file is None else self.size
        return info

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Give the content as a file."""
        if self.file is not None:
            with open_plain(self.file) as opened:
                yield opened
        elif self.source is not None:
            self.source.seek(self.offset)
            yield self.source
        else:
            yield io.BytesIO(self.content)


class _Hashed:
    """Passes on what is written and keeps its SHA-256."""

    def __init__(self, file: IO[bytes] | None) -> None:
        self._file, self.digest, self._at = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self._at += len(data)
        return self._file.write(data) if self._file is not None else len(data)

    def tell(self) -> int:
        return self._at


def write(entries: Iterable[Entry], file: IO[bytes] | None) -> str:
    """Write the canonical layer of `entries` to `file` (or nowhere) and return its SHA-256.

    Missing parents are added. Raises `RejectedError` for a path that no layer may carry, or that occurs twice.
    """
    found = _complete(entries)
    out = _Hashed(file)
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="strict") as tar:  # type: ignore[call-overload]
        for path in sorted(found, key=_key):
            entry = found[path]
            with entry.open() as content:
                tar.addfile(entry.header(), content if entry.kind == FILE else None)
    return out.digest.hexdigest()


def open_plain(path: Path) -> IO[bytes]:
    """Open a file that must be one: never a link, and never waiting for a pipe."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def _key(path: str) -> list[bytes]:
    """Sort by components: a directory stands directly before what is in it."""
    return [part.encode() for part in path.split("/")]


def _complete(entries: Iterable[Entry]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for entry in entries:
        check_path(entry.path)
        if entry.path in found:
            raise RejectedError(f"a layer has {entry.path!r} twice")
        found[entry.path] = entry
    for path in list(found):
        parts = path.split("/")
        for depth in range(1, len(parts)):
            parent = "/".join(parts[:depth])
            if found.setdefault(parent, Entry(parent, DIRECTORY)).kind != DIRECTORY:
                raise RejectedError(f"a layer has {path!r} below {parent!r}, which is no directory")
    for name in _DIRECTORIES:
        if name in found and found[name].kind != DIRECTORY:
            raise RejectedError(f"a layer has {name!r} as something else than a directory")
    return found


def check_path(path: str) -> None:
    """Raise `RejectedError` unless `path` is relative, plain and printable UTF-8 without whiteout names."""
    parts = path.split("/")
    if (
        not path
        or len(path) > _MAX_PATH
        or any(part in ("", ".", "..") or part.startswith(".wh.") for part in parts)
        or any(
            character < " " or "\x7f" <= character <= "\x9f" or "\ud800" <= character <= "\udfff" for character in path
        )
    ):
        raise RejectedError(f"a layer has a path that no layer may carry: {path!r}"[:300])


def read(file: IO[bytes]) -> Iterator[Entry]:
    """Yield the entries of a layer that may come from anywhere. Raises `RejectedError`; bounded in memory."""
    _scan(file)
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="strict") as tar:
            for info in tar:
                check_path(info.name)
                if info.type == FILE:
                    executable = bool(info.mode & 0o111)
                    yield Entry(info.name, FILE, executable, source=file, offset=info.offset_data, size=info.size)
                else:
                    yield Entry(info.name, info.type, link=info.linkname)
    except (tarfile.TarError, UnicodeError, ValueError) as error:
        raise RejectedError(f"a layer is not a tar archive that this program writes: {error}") from error


def check(file: IO[bytes]) -> str:
    """Return the SHA-256 of a canonical layer. Raises `RejectedError` unless it is one, byte for byte."""
    file.seek(0)
    actual = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    if write(list(read(file)), None) != actual:
        raise RejectedError(f"layer {actual[:12]} is not in the canonical form")
    return actual


def check_file(path: Path) -> str:
    """Do `check` on the file at `path`."""
    with path.open("rb") as file:
        return check(file)


def _scan(file: IO[bytes]) -> None:
    """Walk over the headers alone, before a library reads them into memory: no huge or ambiguous extended header."""
    file.seek(0, io.SEEK_END)
    end = file.tell()
    if end > MAX_BYTES:
        raise RejectedError(f"a layer has {end} bytes; at most {MAX_BYTES} are read")
    position, count = 0, 0
    while position + _BLOCK <= end:
        file.seek(position)
        block = file.read(_BLOCK)
        if not block.strip(b"\0"):
            return
        count += 1
        position += _BLOCK + _padded(_one_header(file, block))
        if count > 2 * MAX_ENTRIES:
            raise RejectedError(f"a layer has more than {MAX_ENTRIES} entries")


def _one_header(file: IO[bytes], block: bytes) -> int:
    """Return the size of what follows a header. Raises `RejectedError` for what we do not write."""
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.TarError, UnicodeError, ValueError) as error:
        raise RejectedError(f"a layer has a broken header: {error}") from error
    if (
        info.type not in (DIRECTORY, FILE, LINK, tarfile.XHDTYPE)
        or info.size < 0
        or (info.size and info.type in (DIRECTORY, LINK))
    ):
        raise RejectedError(f"a layer has an entry of kind {info.type!r}: {info.name!r}"[:300])
    if info.type == tarfile.XHDTYPE:
        body = file.read(info.size) if info.size <= _MAX_HEADER else b"size="
        if b"size=" in body or b"GNU.sparse" in body:
            raise RejectedError("a layer has an extended header that this program does not write")
    return info.size


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
