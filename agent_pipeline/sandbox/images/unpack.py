"""Unpacking an image for bubblewrap: once, atomically, checked, readable by everybody and writable by nobody."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from agent_pipeline.config import Config
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images import eviction, layers, seal
from agent_pipeline.sandbox.images.layers import DIRECTORY, FILE, Entry
from agent_pipeline.sandbox.images.store import make_readable, remove, storage, verified

_CHUNK: Final = 1 << 20


def rootfs(config: Config, image: Image) -> Path:
    """Return the directory with the image's root file system, made now when it is not there, looked at when it is.

    Every layer is checked before its first byte is used. Raises `SandboxError` for a damaged image and for a directory
    that is not what was unpacked, `StorageError`.
    """
    folder = config.cache_dir / "rootfs"
    target = folder / image.identity
    with storage(f"unpacking the image {image.name}"):
        if not _is_whole(target):
            make_readable(folder)
            with (folder / ".turn").open("wb") as turn:
                fcntl.flock(turn, fcntl.LOCK_EX)
                if not os.path.lexists(target):
                    _unpack(image, folder, target)
                elif not _is_whole(target):
                    _again(image, target)
                eviction.evict(config, target)
        with contextlib.suppress(PermissionError):  # another user's, who shares it: read, and sealed by its owner
            os.utime(seal.path_of(target))  # when it was last used
    return target


def _is_whole(target: Path) -> bool:
    """Whether the tree is there, our own or root's, with the seal that it got from its owner."""
    try:
        info = target.lstat()
        ours = stat.S_ISDIR(info.st_mode) and info.st_uid in (0, os.geteuid())
        return ours and seal.read(target) == seal.compute(target)
    except FileNotFoundError:
        return False


def _again(image: Image, target: Path) -> None:
    """Seal a tree anew that has another seal and the right bytes. Raises `SandboxError` when it has not."""
    info = target.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid not in (0, os.geteuid()):
        raise SandboxError(
            f"the unpacked image is no directory of yours or root's: {target}",
            hint="find out who put it there, and remove it",
        )
    seal.check(target, image)
    seal.write(target)


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
    seal.write(target)


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
