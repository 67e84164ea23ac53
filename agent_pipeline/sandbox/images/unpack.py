"""Unpacking an image for bubblewrap: once, atomically, checked, readable by everybody and writable by nobody."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import Final

from agent_pipeline.config import Config
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images import layers
from agent_pipeline.sandbox.images.layers import DIRECTORY, FILE, Entry
from agent_pipeline.sandbox.images.store import make_readable, remove, storage, verified

_CHUNK: Final = 1 << 20


def rootfs(config: Config, image: Image) -> Path:
    """Return the directory with the image's root file system, made now when it is not there.

    Every layer is checked before its first byte is used. Raises `SandboxError` for a damaged image, `StorageError`.
    """
    folder = config.cache_dir / "rootfs"
    target = folder / image.identity
    if target.is_dir():
        return target
    with storage(f"unpacking the image {image.name}"):
        make_readable(folder)
        with (folder / ".turn").open("wb") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            if not target.is_dir():
                _unpack(image, folder, target)
    return target


def _unpack(image: Image, folder: Path, target: Path) -> None:
    for stale in folder.glob(".unpacking-*"):
        remove(stale)  # of a dead process: the living take turns
    root = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=folder))
    try:
        for path in verified(image):
            with path.open("rb") as file:
                for entry in layers.read(file):
                    _place(root, entry)
        for parent, _, _ in os.walk(root, topdown=False):
            Path(parent).chmod(0o755 if Path(parent) == root else 0o555)
        root.rename(target)
        target.chmod(0o555)
    except BaseException:
        remove(root)
        raise


def _place(root: Path, entry: Entry) -> None:
    """Put one entry in place. Canonical layers name every parent as a directory: no path leads through a link."""
    path = root / entry.path
    if entry.kind == DIRECTORY:
        if path.is_symlink() or not path.is_dir():
            if os.path.lexists(path):
                raise SandboxError(
                    f"a layer makes a directory of {entry.path!r}, which a lower layer has as something else"
                )
            path.mkdir(mode=0o755)
        return
    if path.is_dir() and not path.is_symlink():
        raise SandboxError(f"a layer replaces the directory {entry.path!r}")
    path.unlink(missing_ok=True)
    if entry.kind == FILE:
        mode = 0o555 if entry.executable else 0o444
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as target:
            _copy(entry, target.fileno())
            os.fchmod(target.fileno(), mode)
            os.utime(target.fileno(), (layers.EPOCH, layers.EPOCH))
    else:
        path.symlink_to(entry.link)


def _copy(entry: Entry, target: int) -> None:
    assert entry.source is not None  # noqa: S101 - it was read from a layer
    left, offset = entry.size, entry.offset
    while left and (sent := os.copy_file_range(entry.source.fileno(), target, min(left, _CHUNK), offset)):
        left, offset = left - sent, offset + sent
    if left:
        raise SandboxError(f"a layer ends within {entry.path!r}")
