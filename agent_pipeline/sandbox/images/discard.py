"""Removing an image from this machine: the store's copy, the one unpacked for bubblewrap, and the Docker engine's."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Callable
from pathlib import Path

from agent_pipeline.config import Config
from agent_pipeline.errors import RejectedError, SandboxError
from agent_pipeline.sandbox.images import archive
from agent_pipeline.sandbox.images.store import Store, make_readable, remove, storage

Progress = Callable[[str], None]


def discard(config: Config, identity: str, progress: Progress) -> tuple[str, ...]:
    """Remove the image; return what was removed. Raises `RejectedError` while a sandbox uses it, `StorageError`.

    A Docker engine that cannot be asked keeps its copy, which is said.
    """
    removed = []
    unpacked = config.cache_dir / "rootfs" / identity
    if _mounted(unpacked):
        raise RejectedError(
            f"a sandbox that runs now uses the image {identity[:12]}", hint="wait for it, or `agent-pipeline stop ID`"
        )
    if _from_docker(identity, progress):
        removed.append(f"{archive.REPOSITORY}:{identity} of the Docker engine")
    if unpacked.is_dir():
        _unpacked(unpacked)
        removed.append(str(unpacked))
    store = Store(config)
    with storage(f"the image store {store.folder}"), store.staging() as folder:
        (store.folder / identity).rename(folder / "gone")
        removed.append(str(store.folder / identity))
    return tuple(removed)


def _mounted(unpacked: Path) -> bool:
    """Whether some process that we can see has the directory mounted, as bubblewrap's sandboxes do."""
    word = f"/{unpacked.name}/"
    for mounts in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            if any(word in line for line in mounts.read_text(errors="surrogateescape").splitlines()):
                return True
        except OSError:
            continue  # it ended, or is another user's
    return False


def _unpacked(target: Path) -> None:
    """Take it away by one rename, under the name that the next unpacking sweeps if we die now."""
    with storage(str(target)):
        make_readable(target.parent)
        with (target.parent / ".turn").open("wb") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            gone = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=target.parent))
            target.chmod(0o755)  # a directory that moves is written to: its `..` changes
            target.rename(gone / "gone")
            remove(gone)


def _from_docker(identity: str, progress: Progress) -> bool:
    from agent_pipeline.sandbox import docker  # noqa: PLC0415 - the engine is asked for nothing else here

    name = f"{archive.REPOSITORY}:{identity}"
    try:
        return docker.remove_image(name)
    except SandboxError as error:
        progress(f"the Docker engine keeps its copy: {error.message}")
        return False
