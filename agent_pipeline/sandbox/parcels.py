"""The workspace as a tar stream, to and from an engine that does not see this host's files.

Out it goes as we write it. What comes back was named and filled by hostile code, and framed by the engine: it is read
strictly and once, header by header, nothing of it in memory but one block. Directories, files, hard and symbolic links
and pipes are known; a device, a sparse file, a GNU or global header, an extended header that is not the engine's, a
path that is absolute, has `..` or begins elsewhere, and whatever is cut off or continues after its end is an error.

Source: POSIX.1-2017 `pax`, "pax Interchange Format"; the Engine API's "ContainerArchive".
"""

from __future__ import annotations

import itertools
import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from agent_pipeline.errors import SandboxError

FOLDER, FILE, HARD, LINK, PIPE = b"5", b"0", b"1", b"2", b"6"
MAX_DEPTH: Final = 400  # of directories, each of which is held open while it is filled
_BLOCK: Final = 512
_CHUNK: Final = 1 << 16
_MAX_HEADER: Final = 64 << 10
_MAX_NAME: Final = 255
_RECORD: Final = re.compile(rb"([1-9][0-9]{0,5}) ([^=\n\0]{1,512})=")
_KNOWN: Final = frozenset(b"path linkpath size uid gid uname gname mtime atime ctime hdrcharset".split())
_ATTRIBUTE: Final = b"SCHILY.xattr."  # which no harvest looks at
_LESS: Final = "ask for less, or raise `sandbox.disk_mb` in the policy"


class BrokenParcelError(SandboxError):
    """The archive is none that an engine makes of a workspace."""

    def __init__(self, what: str) -> None:
        """Say `what` is wrong."""
        super().__init__(f"what came back from the sandbox is no archive of it: {what}", hint="nothing of it was used")


@dataclass(frozen=True, slots=True)
class Item:
    """One entry: `path` in components below the workspace, `link` a symbolic link's target or a hard link's path."""

    path: tuple[bytes, ...]
    kind: bytes
    executable: bool
    size: int
    uid: int
    link: bytes | tuple[bytes, ...] = b""


def pack(folder: Path, owner: int, group: int, file: IO[bytes]) -> None:
    """Write `folder` to `file`, belonging to `owner` and `group`, and go back to its start. Raises `OSError`."""

    def owned(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid, info.gid, info.uname, info.gname = owner, group, "", ""
        return info

    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
        tar.add(folder, arcname=".", filter=owned)
    file.seek(0)


class Parcel:
    """Reads an archive of the directory `top` from `chunks`, at most `max_bytes` of content and `max_items` entries."""

    def __init__(self, chunks: Iterable[bytes], top: bytes, max_bytes: int, max_items: int) -> None:
        """Take the stream; nothing is read yet."""
        self._chunks, self._ahead = iter(chunks), b""
        self._top, self._bytes, self._items = top, max_bytes, max_items
        self._left = 0  # of the present file's content

    def items(self) -> Iterator[Item]:
        """Yield the entries. Between two of them, `content` gives a file's. Raises `SandboxError`."""
        records: dict[bytes, bytes] = {}
        while (block := self._exactly(_BLOCK)).strip(b"\0"):
            info = _header(block)
            if info.type == tarfile.XHDTYPE:
                if records:
                    raise BrokenParcelError("two extended headers for one entry")
                records = self._records(info.size)
                continue
            self._items -= 1
            if self._items < 0:
                raise SandboxError("the sandbox left more files than its disk may hold", hint=_LESS)
            item = self._item(info, records)
            records = {}
            self._left = item.size
            yield item
            for _ in self.content():
                pass
            self._exactly(-item.size % _BLOCK)
        if records:
            raise BrokenParcelError("an extended header for nothing")
        self._end()

    def content(self) -> Iterator[bytes]:
        """Yield the present file's content in pieces."""
        while self._left:
            piece = self._exactly(min(self._left, _CHUNK))
            self._left -= len(piece)
            yield piece

    def _item(self, info: tarfile.TarInfo, records: dict[bytes, bytes]) -> Item:
        size = _number(records[b"size"]) if b"size" in records else info.size
        kind = FILE if info.type == tarfile.AREGTYPE else info.type
        if kind not in {FOLDER, FILE, HARD, LINK, PIPE}:
            raise BrokenParcelError(f"an entry of kind {kind!r}")
        if size < 0 or (size and kind != FILE):
            raise BrokenParcelError("content where none can be")
        self._bytes -= size
        if self._bytes < 0:
            raise SandboxError("the sandbox left more than its disk may hold", hint=_LESS)
        path = self._path(records.get(b"path", os.fsencode(info.name)))
        target = records.get(b"linkpath", os.fsencode(info.linkname))
        if kind == LINK and (not target or b"\0" in target):
            raise BrokenParcelError("a link to nowhere")
        if not path and kind != FOLDER:
            raise BrokenParcelError("the workspace is no directory")
        link = self._path(target) if kind == HARD else target
        return Item(path, kind, bool(info.mode & 0o100), size, info.uid, link)

    def _path(self, name: bytes) -> tuple[bytes, ...]:
        top, *parts = name.removesuffix(b"/").split(b"/")
        odd = any(part in {b"", b".", b".."} or b"\0" in part or len(part) > _MAX_NAME for part in parts)
        if top != self._top or odd:
            raise BrokenParcelError(f"a path that leads elsewhere: {name[:100]!r}")
        if len(parts) > MAX_DEPTH:
            raise SandboxError(f"the sandbox left directories deeper than {MAX_DEPTH}", hint=_LESS)
        return tuple(parts)

    def _records(self, size: int) -> dict[bytes, bytes]:
        if not 0 < size <= _MAX_HEADER:
            raise BrokenParcelError("an extended header of no usual size")
        data, found = self._exactly(size), dict[bytes, bytes]()
        self._exactly(-size % _BLOCK)
        at = 0
        while at < size:
            match = _RECORD.match(data, at)
            end = at + int(match[1]) if match else 0
            if match is None or end > size or end <= match.end() or data[end - 1 : end] != b"\n" or match[2] in found:
                raise BrokenParcelError("an extended header that is malformed")
            if match[2] not in _KNOWN and not match[2].startswith(_ATTRIBUTE):
                raise BrokenParcelError(f"an extended header of an unknown kind: {match[2][:40]!r}")
            found[match[2]] = data[match.end() : end - 1]
            at = end
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._ahead) < size:
            piece = next(self._chunks, None)
            if piece is None:
                raise BrokenParcelError("it is cut off")
            self._ahead += piece
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

    def _end(self) -> None:
        """Two blocks of nothing end an archive, and nothing follows but padding."""
        padding = 0
        for piece in itertools.chain((self._exactly(_BLOCK), self._ahead), self._chunks):
            padding += len(piece)
            if piece.strip(b"\0") or padding > _MAX_HEADER:
                raise BrokenParcelError("something follows its end")


def _header(block: bytes) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError) as error:
        raise BrokenParcelError(str(error)) from error


def _number(text: bytes) -> int:
    if not re.fullmatch(rb"0|[1-9][0-9]{0,15}", text):
        raise BrokenParcelError("a size that is no number")
    return int(text)
