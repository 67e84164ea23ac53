"""Pulling an image by digest where a registry answers, through the Docker engine; it must be the locked image.

What a registry sends is read like any archive: the digest in the recipe addresses it, the lock decides whether it is
right.
"""

from __future__ import annotations

from collections.abc import Callable

from agent_pipeline.errors import RejectedError, UnavailableError
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images import archive
from agent_pipeline.sandbox.images.store import Store

_SECONDS = 300


def pull(store: Store, reference: str, identity: str, progress: Callable[[str], None]) -> Image:
    """Pull `reference` (`name@sha256:...`) and return it. Raises `UnavailableError` when no engine or registry answers.

    Raises `RejectedError` when what came is not the image with that identity.
    """
    import docker  # noqa: PLC0415 - only where the recipe names a registry
    from docker.errors import DockerException  # noqa: PLC0415 - the same

    progress(f"pulling {reference}")
    try:
        client = docker.from_env(timeout=_SECONDS)
        try:
            pulled = client.images.pull(reference)
            with store.staging() as folder, (folder / "pulled.tar").open("w+b") as file:
                for chunk in pulled.save(chunk_size=1 << 20):
                    file.write(chunk)
                image = archive.read(store, file)
        finally:
            client.close()
    except (DockerException, OSError) as error:
        raise UnavailableError(
            f"{reference} cannot be pulled: {error}", hint="is that registry reachable from here?"
        ) from error
    if image.identity != identity:
        raise RejectedError(f"{reference} is the image {image.identity[:12]}, the lock has {identity[:12]}")
    return image
