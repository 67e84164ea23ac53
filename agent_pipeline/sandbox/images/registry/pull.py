"""Taking an image from a registry by digest: bounded, checked to the last byte, whole or not at all.

The digest in the reference decides which manifest is right, the manifest which blobs, the configuration which layers;
the lock, where there is one, which image. Layers that are here already are not fetched.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from agent_pipeline.documents.images_lock import LockedImage
from agent_pipeline.errors import RejectedError, StorageError, UnavailableError, UsageError
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images import identity as identities
from agent_pipeline.sandbox.images import layers
from agent_pipeline.sandbox.images.registry import manifest as manifests
from agent_pipeline.sandbox.images.registry.client import Registry
from agent_pipeline.sandbox.images.registry.manifest import Blob
from agent_pipeline.sandbox.images.registry.reference import Reference, parse
from agent_pipeline.sandbox.images.store import Store

Progress = Callable[[str], None]
_CHUNK: Final = 1 << 20
_EXPANSION: Final = 100  # what one byte of gzip may become: files of programs become five
_GZIP: Final = 31  # zlib's word for that form


def pull(store: Store, reference: Reference, identity: str | None, progress: Progress) -> Image:
    """Add the image at `reference` to the store and return it; it must be the one with `identity`, where one is given.

    Raises `UnavailableError` when the registry does not answer or does not have it, `RejectedError` when what it sends
    is not what its digests say, not an image of ours, or another image, `StorageError`.
    """
    if reference.digest is None:
        raise UsageError(
            f"{reference} names no digest, and a tag may be another image tomorrow",
            hint="write HOST/REPOSITORY@sha256:DIGEST, which `agent-pipeline image push` prints",
        )
    progress(f"pulling {reference}")
    with store.turn(f"pull-{reference.digest[:16]}", progress), Registry(reference) as registry:
        manifest = manifests.read(registry.manifest(reference.digest))
        if identity is not None and manifest.config.digest != identity:
            raise RejectedError(
                f"{reference} is the image {manifest.config.digest[:12]}, the lock has {identity[:12]}",
                hint="whoever keeps the images lock mends it: `agent-pipeline image push --lock` writes it",
            )
        return store.get(manifest.config.digest) or _fetched(store, registry, manifest, progress)


def locked_pull(store: Store, locked: LockedImage, progress: Progress, otherwise: str) -> Image | None:
    """Pull an image from where its lock says it can be had. None where it says nothing, or the registry has nothing.

    Then who calls does `otherwise`, which is said. Raises as `pull` for what a registry sends.
    """
    if locked.registry is None:
        return None
    try:
        return pull(store, parse(locked.registry), locked.identity, progress)
    except StorageError:
        raise
    except UnavailableError as error:
        progress(f"not pulled ({error.message.splitlines()[0]}); {otherwise} instead")
        return None


def _fetched(store: Store, registry: Registry, manifest: manifests.Manifest, progress: Progress) -> Image:
    config = b"".join(_checked(registry.blob(manifest.config), manifest.config))
    facts = identities.read(config)
    if len(facts.layers) != len(manifest.layers):
        raise RejectedError(
            f"{registry.reference}: the manifest has {len(manifest.layers)} layers, the configuration names"
            f" {len(facts.layers)}"
        )
    with store.staging() as folder:
        sources = {}
        for layer, blob in zip(facts.layers, manifest.layers, strict=True):
            sources[layer] = _layer(store, registry, blob, layer, folder, progress)
        return store.add(config, sources)


def _layer(store: Store, registry: Registry, blob: Blob, layer: str, folder: Path, progress: Progress) -> Path:
    """Return the file of the layer whose content has the SHA-256 `layer`: the one that is here, or fetched."""
    path = folder / f"{layer}.tar"
    present = store.layer(layer)
    if present is not None:
        os.link(present, path)
        if _sha256(path) == layer:
            return path
        path.unlink()  # damaged on this disk: fetched anew
    progress(f"  layer {layer[:12]}: fetching {blob.size / (1 << 20):.1f} MiB")
    sent = _checked(registry.blob(blob), blob)
    with path.open("wb") as file:
        digest = hashlib.sha256()
        # Not by the media type: the Docker engine calls a layer packed that it passes on as it came.
        for chunk in sent if blob.digest == layer else _unpacked(sent, blob):
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != layer:
        raise RejectedError(
            f"{registry.reference}: the blob sha256:{blob.digest[:12]} is not the layer sha256:{layer[:12]} that the"
            " configuration names"
        )
    layers.check_file(path)
    return path


def _sha256(path: Path) -> str:
    with layers.open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _checked(chunks: Iterable[bytes], blob: Blob) -> Iterator[bytes]:
    """Pass on what comes; at the end, raise `RejectedError` unless it was the blob to the last byte."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        yield chunk
    if size != blob.size or digest.hexdigest() != blob.digest:
        raise RejectedError(
            f"the registry sent {size} bytes with SHA-256 {digest.hexdigest()[:12]} as the blob"
            f" sha256:{blob.digest[:12]} of {blob.size} bytes",
            hint="something between here and the registry changes or cuts what is sent; try another way to it",
        )


def _unpacked(chunks: Iterable[bytes], blob: Blob) -> Iterator[bytes]:
    """Unpack gzip, one member or several (RFC 1952 2.2). Raises `RejectedError` for what is none, or explodes."""
    left = min(layers.MAX_BYTES, _EXPANSION * blob.size + _CHUNK)
    inner = zlib.decompressobj(_GZIP)
    try:
        for sent in chunks:
            rest, piece = sent, b""
            while rest or piece:  # a piece that came may not have been the last of what was sent
                if inner.eof:
                    inner = zlib.decompressobj(_GZIP)
                piece = inner.decompress(rest, _CHUNK)
                rest = inner.unused_data if inner.eof else inner.unconsumed_tail
                left -= len(piece)
                if left < 0:
                    raise RejectedError(f"the layer sha256:{blob.digest[:12]} unpacks to more than any layer of ours")
                yield piece
                if inner.eof and not rest:
                    break
    except zlib.error as error:
        raise RejectedError(f"the layer sha256:{blob.digest[:12]} is no gzip: {error}") from error
    if not inner.eof:
        raise RejectedError(f"the layer sha256:{blob.digest[:12]} ends in the middle of its gzip")
