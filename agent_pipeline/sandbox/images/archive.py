"""Images as one file, to carry to another party, who gets the same identity.

The file is a tar archive in the form that `docker load` reads (`manifest.json`, the configuration, the layers),
always the same bytes for the same image. Reading trusts nothing: no member is ever written under its own name, sizes
are bounded before anything is read, layers must be canonical byte for byte, and the identity is computed.
"""

from __future__ import annotations

import contextlib
import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from agent_pipeline.config import Config
from agent_pipeline.documents import strict
from agent_pipeline.errors import RejectedError, SandboxError, UsageError
from agent_pipeline.files import written_whole
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images import identity as identities
from agent_pipeline.sandbox.images import layers
from agent_pipeline.sandbox.images.store import Store, storage, verified

REPOSITORY: Final = "agent-pipeline"
_CHUNK: Final = 1 << 20
_MAX_MEMBERS: Final = 128
_MAX_SMALL: Final = 1 << 20
_MAX_HEADERS: Final = 1 << 20
_BLOCK: Final = 512


@dataclass(frozen=True, slots=True)
class _Member:
    offset: int
    size: int


def export(config: Config, identity: str, file: Path) -> None:
    """Write the image to `file`, whole or not at all. Raises `SandboxError` (not here, damaged), `StorageError`."""
    image = Store(config).get(identity)
    if image is None:
        raise SandboxError(f"there is no image {identity[:12]} on this machine", hint="`agent-pipeline image list`")
    with storage(f"writing {file}"), written_whole(file, mode=0o644) as target:
        for chunk in stream(image):
            target.write(chunk)


def stream(image: Image) -> Iterator[bytes]:
    """Yield the archive of an image in pieces; every layer is checked before it is passed on. Raises `SandboxError`."""
    config = (image.folder / "config.json").read_bytes()
    facts = identities.read(config)
    manifest = [
        {
            "Config": f"{image.identity}.json",
            "Layers": [f"{layer}.tar" for layer in facts.layers],
            "RepoTags": [f"{REPOSITORY}:{image.identity}"],
        }
    ]
    for name, content in (("manifest.json", strict.canonical(manifest)), (f"{image.identity}.json", config)):
        yield _header(name, len(content))
        yield content + _padding(len(content))
    for layer, path in zip(facts.layers, verified(image), strict=True):
        size = path.stat().st_size
        yield _header(f"{layer}.tar", size)
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
        yield _padding(size)
    yield bytes(2 * _BLOCK)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, layers.EPOCH, 0o644
    return info.tobuf(tarfile.GNU_FORMAT)  # base-256 sizes: a layer may be larger than 8 GiB one day


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


def load(config: Config, file: Path) -> Image:
    """Add the image in `file` to the store and return it. Raises `RejectedError` for what is not an image of ours."""
    try:
        source = file.open("rb")
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror}", hint="give the path of an exported image"
        ) from error
    with source:
        return read(Store(config), source)


def read(store: Store, source: IO[bytes]) -> Image:
    """Add the image in an archive to the store. The archive may come from anywhere and must be seekable."""
    members = dict(_members(source))
    manifest = _manifest(_small(source, members, "manifest.json"))
    config = _small(source, members, manifest["Config"])
    facts = identities.read(config)
    if len(manifest["Layers"]) != len(facts.layers):
        raise RejectedError(
            f"the archive has {len(manifest['Layers'])} layers, its configuration names {len(facts.layers)}"
        )
    present = store.get(strict.sha256(config))
    if present is not None:
        return present
    with store.staging() as folder:
        sources = {}
        for layer, name in zip(facts.layers, manifest["Layers"], strict=True):
            sources[layer] = _layer(source, members, name, layer, folder)
        return store.add(config, sources)


def _members(source: IO[bytes]) -> Iterator[tuple[str, _Member]]:
    """Yield where each regular file lies. Directories are passed over; anything else, or a name twice, is refused."""
    seen: set[str] = set()
    source.seek(0)
    with _as_rejection(), tarfile.open(fileobj=_Guarded(source), mode="r:", encoding="utf-8", errors="strict") as tar:  # type: ignore[call-overload]
        for info in tar:
            if info.isdir():
                continue
            if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.sparse is not None:
                raise RejectedError(f"the archive has a member of kind {info.type!r}: {info.name!r}"[:300])
            if info.name in seen or len(seen) >= _MAX_MEMBERS:
                raise RejectedError(f"the archive has too many members, or {info.name!r} twice"[:300])
            seen.add(info.name)
            yield info.name, _Member(info.offset_data, info.size)


class _Guarded:
    """A file of which a tar library may read only so much, all headers together: members' content is read elsewhere."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._left = file, _MAX_HEADERS

    def read(self, size: int) -> bytes:
        self._left -= size
        if size < 0 or self._left < 0:
            raise RejectedError("the archive's headers are larger than any image's")
        return self._file.read(size)

    def seek(self, offset: int) -> int:
        return self._file.seek(offset)

    def tell(self) -> int:
        return self._file.tell()


@contextlib.contextmanager
def _as_rejection() -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, ValueError, OverflowError, OSError) as error:
        raise RejectedError(
            f"this is not an exported image: {error}", hint="make one with `agent-pipeline image export`"
        ) from error


def _small(source: IO[bytes], members: dict[str, _Member], name: str) -> bytes:
    member = members.get(name)
    if member is None or member.size > _MAX_SMALL:
        raise RejectedError(
            f"the archive has no {name!r}, or it is larger than any"[:300],
            hint="make one with `agent-pipeline image export`",
        )
    source.seek(member.offset)
    data = source.read(member.size)
    if len(data) != member.size:
        raise RejectedError(f"the archive ends within {name!r}"[:300])
    return data


def _manifest(data: bytes) -> dict[str, Any]:
    document = strict.parse(data, what="the archive's manifest")
    good = (
        isinstance(document, list)
        and len(document) == 1
        and isinstance(document[0], dict)
        and isinstance(document[0].get("Config"), str)
        and isinstance(document[0].get("Layers"), list)
        and all(isinstance(name, str) for name in document[0]["Layers"])
    )
    if not good:
        raise RejectedError("the archive's manifest does not describe one image")
    manifest: dict[str, Any] = document[0]
    return manifest


def _layer(source: IO[bytes], members: dict[str, _Member], name: str, expected: str, folder: Path) -> Path:
    """Copy a layer out of the archive and check it."""
    member = members.get(name)
    if member is None or member.size > layers.MAX_BYTES:
        raise RejectedError(f"the archive has no layer {name!r}, or it is larger than {layers.MAX_BYTES} bytes"[:300])
    path, digest, left = folder / f"{expected}.tar", hashlib.sha256(), member.size
    source.seek(member.offset)
    with path.open("wb") as target:
        while left and (chunk := source.read(min(_CHUNK, left))):
            digest.update(chunk)
            target.write(chunk)
            left -= len(chunk)
    if left or digest.hexdigest() != expected:
        raise RejectedError(
            f"the archive's layer {name!r} is not what the configuration names: sha256:{expected[:12]}"[:300]
        )
    layers.check_file(path)
    return path
