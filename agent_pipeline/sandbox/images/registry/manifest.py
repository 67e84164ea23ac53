"""The manifest of an image: what a registry keeps of it, by digest (OCI image specification 1.1, `manifest.md`).

Layers travel as they are, uncompressed: then the manifest is a function of the image alone, every machine writes the
same one, and its digest can be locked. No compressor's version decides what a digest is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from agent_pipeline.documents import strict
from agent_pipeline.errors import RejectedError, SchemaError
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images import identity as identities
from agent_pipeline.sandbox.images import layers

MEDIA_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
# What other tools make of an image that they carry on: the Docker engine's form, and layers packed with gzip.
_MANIFESTS: Final = (MEDIA_TYPE, "application/vnd.docker.distribution.manifest.v2+json")
_CONFIGS: Final = (_CONFIG, "application/vnd.docker.container.image.v1+json")
_DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
_LAYERS: Final = (_LAYER, f"{_LAYER}+gzip", _DOCKER_LAYER, f"{_DOCKER_LAYER}.gzip")
ACCEPTED: Final = ", ".join(_MANIFESTS)
MAX_BYTES: Final = 1 << 20
MAX_CONFIG: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Blob:
    """Something that a manifest names: its SHA-256 in hexadecimal and its size, both of the bytes that are sent."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The configuration and the layers from the bottom up."""

    config: Blob
    layers: tuple[Blob, ...]


def of(image: Image) -> tuple[bytes, Manifest]:
    """Return the manifest of an image in the store: canonical bytes, the same wherever they are written."""
    config = (image.folder / "config.json").read_bytes()
    found = tuple(
        Blob(layer, (image.folder / "layers" / f"{layer}.tar").stat().st_size)
        for layer in identities.read(config).layers
    )
    manifest = Manifest(Blob(strict.sha256(config), len(config)), found)
    document = {
        "schemaVersion": 2,
        "mediaType": MEDIA_TYPE,
        "config": _descriptor(_CONFIG, manifest.config),
        "layers": [_descriptor(_LAYER, layer) for layer in manifest.layers],
    }
    return strict.canonical(document), manifest


def _descriptor(kind: str, blob: Blob) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{blob.digest}", "size": blob.size}


def read(data: bytes) -> Manifest:
    """Read a manifest that may come from anywhere. Raises `RejectedError` for what is not that of one image."""
    document = strict.parse(data, what="the registry's manifest", max_bytes=MAX_BYTES)
    if isinstance(document, dict) and ("manifests" in document or "fsLayers" in document):
        raise RejectedError(
            "the registry has a list of images, or one of an old form, under this digest",
            hint="give the digest of the image's own manifest: `agent-pipeline image push` prints it",
        )
    try:
        manifest = Manifest(
            _blob(document["config"], _CONFIGS, MAX_CONFIG),
            tuple(_blob(item, _LAYERS, layers.MAX_BYTES) for item in document["layers"]),
        )
        known = (document["schemaVersion"], document.get("mediaType", MEDIA_TYPE)) in [(2, kind) for kind in _MANIFESTS]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SchemaError(f"the registry's manifest is not that of an image: {error!r}"[:300]) from error
    if not known or not 0 < len(manifest.layers) <= identities.MAX_LAYERS:
        raise SchemaError(f"the registry's manifest, of {len(manifest.layers)} layers, has none of the forms of images")
    return manifest


def _blob(item: dict[str, Any], kinds: tuple[str, ...], limit: int) -> Blob:
    kind, size = item["mediaType"], item["size"]
    algorithm, _, digest = item["digest"].partition(":")
    if kind not in kinds:
        raise ValueError(f"mediaType {kind!r}")
    if algorithm != "sha256" or not identities.is_digest(digest):
        raise ValueError(f"digest {item['digest']!r}")
    if type(size) is not int or not 0 < size <= limit:
        raise ValueError(f"size {size!r}")
    return Blob(digest, size)
