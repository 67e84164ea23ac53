"""Sending an image to a registry: what it has already is not sent again, and the manifest comes last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agent_pipeline.documents import strict
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images.registry import manifest as manifests
from agent_pipeline.sandbox.images.registry.client import Registry
from agent_pipeline.sandbox.images.registry.reference import Reference
from agent_pipeline.sandbox.images.store import verified

_MIB: Final = 1 << 20


def push(image: Image, to: Reference, progress: Callable[[str], None]) -> Reference:
    """Send the image and return where it is, by digest. Without a tag it gets its identity as one.

    Can be repeated after an interrupt: until the manifest is there, nobody finds an image. Raises `SandboxError` for a
    layer that was changed on disk (before any byte of it is sent), `UnavailableError`, `RejectedError`.
    """
    data, manifest = manifests.of(image)
    there = to.at(strict.sha256(data))
    with Registry(to, write=True) as registry:
        for blob, path in zip(manifest.layers, verified(image), strict=True):
            if registry.has(blob):
                progress(f"  layer {blob.digest[:12]} is there")
            else:
                progress(f"  layer {blob.digest[:12]}: sending {blob.size / _MIB:.1f} MiB")
                registry.upload(blob, path)
        if not registry.has(manifest.config):
            registry.upload(manifest.config, image.folder / "config.json")
        registry.tag(to.tag or image.identity, data)
        registry.manifest(strict.sha256(data))  # what it now gives to others are these bytes
    progress(f"pushed {image.name} sha256:{image.identity[:12]} as {there}")
    return there
