"""Removing an image from this machine: the store's copy, the one unpacked for bubblewrap, and the Docker engine's."""

from __future__ import annotations

import fcntl
from collections.abc import Callable

from agent_pipeline.config import Config
from agent_pipeline.errors import RejectedError, SandboxError
from agent_pipeline.sandbox.images import archive
from agent_pipeline.sandbox.images.eviction import drop, mounted
from agent_pipeline.sandbox.images.store import Store, make_readable, storage

Progress = Callable[[str], None]


def discard(config: Config, identity: str, progress: Progress) -> tuple[str, ...]:
    """Remove the image; return what was removed. Raises `RejectedError` while a sandbox uses it, `StorageError`.

    A Docker engine that cannot be asked keeps its copy, which is said.
    """
    removed = []
    unpacked = config.cache_dir / "rootfs" / identity
    if mounted(unpacked):
        raise RejectedError(
            f"a sandbox that runs now uses the image {identity[:12]}", hint="wait for it, or `agent-pipeline stop ID`"
        )
    if _from_docker(identity, progress):
        removed.append(f"{archive.REPOSITORY}:{identity} of the Docker engine")
    if unpacked.is_dir():
        with storage(str(unpacked)):
            make_readable(unpacked.parent)
            with (unpacked.parent / ".turn").open("wb") as turn:
                fcntl.flock(turn, fcntl.LOCK_EX)
                drop(unpacked)
        removed.append(str(unpacked))
    store = Store(config)
    with storage(f"the image store {store.folder}"), store.staging() as folder:
        (store.folder / identity).rename(folder / "gone")
        removed.append(str(store.folder / identity))
    return tuple(removed)


def in_use(config: Config, identity: str) -> bool:
    """Whether a sandbox that runs now uses the image, as far as can be seen; an engine that is not there runs none."""
    from agent_pipeline.sandbox import docker  # noqa: PLC0415 - the engine is asked for nothing else here

    if mounted(config.cache_dir / "rootfs" / identity):
        return True
    try:
        return docker.uses_image(f"{archive.REPOSITORY}:{identity}")
    except SandboxError:
        return False


def _from_docker(identity: str, progress: Progress) -> bool:
    from agent_pipeline.sandbox import docker  # noqa: PLC0415 - the engine is asked for nothing else here

    name = f"{archive.REPOSITORY}:{identity}"
    try:
        return docker.remove_image(name)
    except SandboxError as error:
        progress(f"the Docker engine keeps its copy: {error.message}")
        return False
