"""Whether an unpacked image is still what was unpacked: looked at before each start.

The seal of a tree is the SHA-256 of every path with its mode, owner, size, inode and times. The kernel sets a file's
change time (`ctime`) with each write and nobody can set it back without moving the machine's clock, so a tree with the
same seal is the same tree, at a hundredth of the price of reading it. A tree with another seal (moved to another disk,
restored) is read and compared with the image's layers to the last byte. Who has the cache's own user, or root, can
make a seal too: against those an image on this machine cannot be kept.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent_pipeline import clock
from agent_pipeline.documents import strict
from agent_pipeline.errors import SandboxError, SchemaError
from agent_pipeline.files import written_whole
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images import layers
from agent_pipeline.sandbox.images.layers import DIRECTORY, FILE
from agent_pipeline.sandbox.images.store import verified

SUFFIX: Final = ".seal"
_TICK: Final = 0.02  # seconds: a change in the same tick of the kernel's clock would have the same time


@dataclass(frozen=True, slots=True)
class Seal:
    """The digest of a tree's metadata, and what the tree takes on the disk."""

    digest: str
    bytes: int


def path_of(root: Path) -> Path:
    """Return where the seal of the tree at `root` is kept: beside it."""
    return root.with_name(root.name + SUFFIX)


def read(root: Path) -> Seal | None:
    """Return the seal that was kept; None where there is none of the tree's own owner."""
    try:
        descriptor = os.open(path_of(root), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if os.fstat(descriptor).st_uid != root.lstat().st_uid:
                return None
            kept = strict.parse(file.read(4096), what="a seal")
        return Seal(str(kept["digest"]), int(kept["bytes"]))
    except (OSError, SchemaError, KeyError, TypeError, ValueError):
        return None


def write(root: Path) -> None:
    """Look at the finished tree and keep its seal. Raises `OSError`."""
    clock.sleep(_TICK)
    made = compute(root)
    with written_whole(path_of(root), mode=0o644) as file:
        file.write(strict.canonical({"digest": made.digest, "bytes": made.bytes}))


def compute(root: Path) -> Seal:
    """Return the seal of the tree as it is now. Raises `OSError`."""
    digest, size = hashlib.sha256(), 0
    for path, info in _walk(root):
        size += info.st_blocks * 512
        facts = (info.st_mode, info.st_uid, info.st_size, info.st_ino, info.st_mtime_ns, info.st_ctime_ns)
        digest.update(b"%s\0%d %d %d %d %d %d\n" % (os.fsencode(path), *facts))
    return Seal(digest.hexdigest(), size)


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield every path below `root`, and `root` itself as the empty one; no link is followed."""
    yield "", root.lstat()
    todo = [""]
    while todo:
        folder = todo.pop()
        with os.scandir(f"{root}/{folder}") as found:
            items = sorted(found, key=_name)
        for item in items:
            path, info = f"{folder}{item.name}", item.stat(follow_symlinks=False)
            yield path, info
            if stat.S_ISDIR(info.st_mode):
                todo.append(f"{path}/")


def _name(item: os.DirEntry[str]) -> str:
    return item.name


def check(root: Path, image: Image) -> None:
    """Raise `SandboxError` unless the tree is what the image's layers say, naming the first path that is not."""
    wanted = dict(_wanted(image))
    wanted[""] = "directory"
    for path, info in _walk(root):
        if _is(root / path, info) != wanted.pop(path, None):
            raise _changed(root, path)
    if wanted:
        raise _changed(root, min(wanted))


def _changed(root: Path, path: str) -> SandboxError:
    return SandboxError(
        f"an unpacked image has been changed on disk: {root / path}",
        hint=f"find out by whom; `rm -r {root}` takes it away, and the next run unpacks it from its checked layers",
    )


def _wanted(image: Image) -> Iterator[tuple[str, str]]:
    """Yield each path with what must be there; of several layers the last one counts."""
    for layer in verified(image):
        with layer.open("rb") as file:
            for entry in layers.read(file):
                if entry.kind == FILE:
                    with entry.open() as content:
                        digest = _sha256(content.fileno(), entry.offset, entry.size)
                    yield entry.path, f"{0o555 if entry.executable else 0o444:o} {digest}"
                else:
                    yield entry.path, "directory" if entry.kind == DIRECTORY else f"link {entry.link}"


def _sha256(descriptor: int, offset: int, size: int) -> str:
    digest = hashlib.sha256()
    while size > 0 and (data := os.pread(descriptor, min(size, 1 << 20), offset)):
        digest.update(data)
        offset, size = offset + len(data), size - len(data)
    return digest.hexdigest()


def _is(path: Path, info: os.stat_result) -> str:
    if stat.S_ISLNK(info.st_mode):
        return f"link {path.readlink()}"
    mode = stat.S_IMODE(info.st_mode)
    if stat.S_ISDIR(info.st_mode):
        return "directory" if mode == 0o555 else "a directory with another mode"  # noqa: PLR2004 - as it was unpacked
    if not stat.S_ISREG(info.st_mode):
        return "something else"
    with layers.open_plain(path) as file:
        return f"{mode:o} {hashlib.file_digest(file, 'sha256').hexdigest()}"  # type: ignore[arg-type]
