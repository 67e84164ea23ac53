"""A source distribution from the user's own package index: fetched, checked, unpacked, and never run.

(`pip download` builds what it downloads, which runs the project's code on this machine.) What counts is the SHA-256
that the caller knows beforehand; an index is only asked where the bytes are.
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent_pipeline import temporary
from agent_pipeline.cli import package_index
from agent_pipeline.cli.package_index import Listed, Sources
from agent_pipeline.documents import strict
from agent_pipeline.errors import PathError, RejectedError, StorageError, UnavailableError, UsageError
from agent_pipeline.files import written_whole

if TYPE_CHECKING:
    import requests

MAX_BYTES: Final = 20 << 20
MAX_UNPACKED: Final = 100 << 20
MAX_FILES: Final = 5000
_HINT: Final = "check the network and `pip config list`, or put the file into a folder and set PIP_FIND_LINKS to it"
# PEP 706's filter came with Python 3.11.4; what it would refuse, `_members` refuses on every version.
_FILTER: Final[dict[str, Any]] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
_FilterError: Final[type[Exception]] = getattr(tarfile, "FilterError", ValueError)


def fetch(name: str, file: str, sha256: str, folder: Path) -> Path:
    """Return the path of `file` of the project `name` in `folder`, downloaded unless it is there already.

    Every place that pip is configured to look at is asked in turn; nothing of the project is run. Raises
    `UnavailableError` when no place has it, `RejectedError` when all that was found under that name are other bytes.
    """
    if "/" in file or file.startswith("."):
        raise UsageError(f"{file!r} is not a file's name", hint="give the name alone, like example-1.0.tar.gz")
    target = folder / file
    with suppress(OSError):
        if target.stat().st_size <= MAX_BYTES and strict.sha256(target.read_bytes()) == sha256:
            return target
    return _keep(target, _find(package_index.configured(), name, file, sha256))


def _find(sources: Sources, name: str, file: str, sha256: str) -> bytes:
    """Return the bytes with that digest from the first place that has them."""
    trouble: list[str] = []
    others: list[str] = []
    with package_index.session(sources) as opened:
        for where in _places(sources, opened, name, file, trouble):
            if where.sha256 is not None and where.sha256 != sha256:
                others.append(f"{package_index.without_secrets(where.url)} (said to be {where.sha256})")
                continue
            try:
                data = package_index.read(opened, where.url, MAX_BYTES)[2]
            except UnavailableError as error:
                trouble.append(error.message)
                continue
            if strict.sha256(data) == sha256:
                return data
            others.append(f"{package_index.without_secrets(where.url)} (is {strict.sha256(data)})")
    if others:
        raise RejectedError(f"{file} is not the one with SHA-256 {sha256}: {'; '.join(others)}", hint=_HINT)
    raise UnavailableError(f"no package index has {file}: {'; '.join(trouble) or 'none is configured'}", hint=_HINT)


def _places(sources: Sources, opened: requests.Session, name: str, file: str, trouble: list[str]) -> Iterator[Listed]:
    """Yield where `file` is, as far as the places say; what goes wrong is added to `trouble`."""
    for folder in sources.folders:
        if (folder / file).is_file():
            yield Listed(file, (folder / file).absolute().as_uri(), None)
        else:
            trouble.append(f"{folder}: not there")
    asks: list[tuple[str, Callable[[], tuple[Listed, ...]]]] = []
    asks += [(url, partial(package_index.page, opened, url)) for url in sources.pages]
    asks += [(url, partial(package_index.listed, opened, url, name)) for url in sources.indexes]
    for url, ask in asks:
        try:
            found = [row for row in ask() if row.name == file]
        except UnavailableError as error:
            trouble.append(error.message)
            continue
        if not found:
            trouble.append(f"{package_index.without_secrets(url)}: not listed")
        yield from found


def _keep(target: Path, data: bytes) -> Path:
    """Write whole or not at all."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(target) as stream:
            stream.write(data)
    except OSError as error:
        raise StorageError(f"{target}: {error.strerror}", hint="free space or rights, then try again") from error
    return target


def unpack(archive: Path, folder: Path) -> Path:
    """Make `folder` what the `.tar.gz` holds below its one top directory, and return it; or leave nothing behind.

    Only files and directories: a link or device in a source distribution is refused, and so is any name outside the top
    directory. Raises `PathError` for those, `RejectedError` for what is no such archive or too large, `UsageError` when
    `folder` exists already.
    """
    if folder.exists():
        raise UsageError(f"{folder} exists already", hint="remove it, or unpack somewhere else")
    top = archive.name.removesuffix(".tar.gz")
    plain = _decompressed(archive)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with temporary.scratch("unpack", below=folder.parent) as place:
            with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as tar:
                tar.extractall(place, members=_members(tar, top), **_FILTER)  # noqa: S202 - `_members` checks each
            if not (place / top).is_dir():
                raise PathError(f"{archive.name} has no directory {top}/", hint="nothing was unpacked")
            return (place / top).rename(folder)
    except (_FilterError, ValueError, OverflowError) as error:
        raise PathError(f"{archive.name}: {error}", hint="nothing was unpacked") from error
    except tarfile.TarError as error:
        raise RejectedError(
            f"{archive.name} is no source distribution: {error}", hint="nothing was unpacked"
        ) from error
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror}", hint="free space or rights, then try again") from error


def _decompressed(archive: Path) -> bytes:
    """Return the tar inside, bounded before any header is believed: a small file can hold a very large one."""
    try:
        with gzip.open(archive) as stream:
            plain = stream.read(MAX_UNPACKED + 1)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise RejectedError(
            f"{archive.name} is no source distribution: {error}", hint="only .tar.gz is read"
        ) from error
    except OSError as error:
        raise StorageError(f"{archive}: {error.strerror}", hint="fetch it again") from error
    if len(plain) > MAX_UNPACKED:
        raise RejectedError(f"{archive.name} unpacks to more than {MAX_UNPACKED} bytes", hint="nothing was unpacked")
    return plain


def _members(tar: tarfile.TarFile, top: str) -> Iterator[tarfile.TarInfo]:
    """Yield what may be unpacked. Raises `PathError` for anything else."""
    for number, member in enumerate(tar):
        if number >= MAX_FILES:
            raise PathError(f"{top}.tar.gz: more than {MAX_FILES} files", hint="nothing was unpacked")
        parts = member.name.split("/")
        if parts[0] != top or ".." in parts:
            raise PathError(f"{member.name!r} is outside {top}/", hint="nothing was unpacked")
        if not (member.isreg() or member.isdir()) or member.issparse():  # a sparse file unpacks to any size
            raise PathError(f"{member.name!r} is neither a file nor a directory", hint="nothing was unpacked")
        member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
        member.uid, member.gid, member.uname, member.gname = os.geteuid(), os.getegid(), "", ""
        yield member
