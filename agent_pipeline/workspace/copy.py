"""Making the virtual copy of one tree, and leaving nothing of it behind.

Where the kernel lets us, it is an overlay: an immutable directory per tree and read scope, which the cache keeps, and
a bounded space of its own for what is written. Elsewhere every file is copied.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from agent_pipeline import interrupts
from agent_pipeline.documents.characters import visible
from agent_pipeline.errors import StorageError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.trees import entries
from agent_pipeline.workspace import bounds, namespaces, places
from agent_pipeline.workspace.lowers import Lower, Lowers
from agent_pipeline.workspace.materialise import Copied, materialise

Mode = Literal["overlay", "copy"]
Reach = Literal["host", "namespace", "copy"]
_OPAQUE: Final = "trusted.overlay.opaque"
_OPAQUE_OF_A_USER: Final = "user.overlay.opaque"


@dataclass(frozen=True, slots=True)
class Layers:
    """What an overlay is made of: `upper` holds the change, `opaque` is the attribute of directories made anew.

    `left_out` says whether the tree has paths that no directory can hold.
    """

    upper: Path
    lower: Path
    opaque: str
    left_out: bool


class Missing:
    """What of the tree is not in the copy; read when somebody asks."""

    def __init__(self, read: Callable[[], Copied]) -> None:
        """Take what reads it."""
        self._read = read

    @cached_property
    def copied(self) -> Copied:
        """Both lists."""
        return self._read()


@dataclass(frozen=True, slots=True)
class Workspace:
    """A copy at `path` of the tree `tree`.

    `mode` is overlay or copy. `bounded`: what is written there is limited in bytes and files by the kernel. `namespace`
    is the process whose namespaces have the copy, when the host's has not; `path` then leads through it.
    """

    path: Path
    tree: str
    mode: Mode
    bounded: bool
    namespace: int | None
    layers: Layers | None
    missing: Missing = field(repr=False, compare=False)

    @property
    def withheld(self) -> tuple[str, ...]:
        """The paths that the policy keeps from agents, for people."""
        return _shown(self.missing.copied.withheld)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The paths that no directory can hold, for people."""
        return _shown(self.missing.copied.left_out)

    @property
    def absent(self) -> frozenset[bytes]:
        """Both, as stored."""
        return frozenset((*self.missing.copied.withheld, *self.missing.copied.left_out))


@contextmanager
def create(  # noqa: PLR0913 - what, for whom, where, how much
    clone: Clone,
    tree: str,
    *,
    may_read: Callable[[str], bool],
    scope: str,
    lowers: Path,
    parent: Path,
    disk_mb: int,
    uid: int,
    reach: Reach = "host",
) -> Iterator[Workspace]:
    """Make a copy of `tree` below `parent`, and remove it however the block ends.

    `scope` names what `may_read` lets through: two that differ have different names. `lowers` is the cache's own
    directory. `reach` is how the engine gets at a copy: as a directory of this host, by entering a namespace of ours,
    or as files only.

    Modes, links, line endings and empty files are as in the tree; submodules are empty directories. As root the copy
    belongs to `uid`, and what is written there is bounded by `disk_mb` MiB; in a full copy that includes the contents.
    Otherwise it belongs to the caller, and is bounded in a namespace only. Raises `StorageError` when it does not fit,
    `GitError` when an object is missing.
    """
    wanted = _Wanted(clone, tree, may_read, scope, disk_mb, uid if os.geteuid() == 0 else None)
    with ExitStack() as stack:
        folder = stack.enter_context(places.held(parent, wanted.owner))
        made = None
        try:
            if reach == "namespace" or (reach == "host" and wanted.owner is not None):
                made = _overlay(wanted, Lowers(lowers), folder, stack)
        except OSError as error:
            raise _full(error, disk_mb, bounded=False) from error
        yield made or _copy(wanted, folder)


def offered(*, lowers: Path, parent: Path, uid: int, reach: Reach) -> tuple[str, bool]:
    """Return the mode that `create` takes here, and whether it bounds what is written: tried, with nothing left.

    Raises `StorageError` when nothing can be made below `parent`.
    """
    owner = uid if os.geteuid() == 0 else None
    with places.held(parent, owner) as folder:
        if (reach == "namespace" or (reach == "host" and owner is not None)) and _possible(lowers, folder, owner):
            return "overlay", True
        return "copy", owner is not None and bounds.mount(folder / places.FILES, 1, 1)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be copied. `owner` is the workload's uid when we are root."""

    clone: Clone
    tree: str
    may_read: Callable[[str], bool]
    scope: str
    disk_mb: int
    owner: int | None


def _overlay(wanted: _Wanted, lowers: Lowers, folder: Path, stack: ExitStack) -> Workspace | None:
    """Return the copy as an overlay, None where there can be none."""
    lower = _lower(wanted, lowers, folder, stack)
    if lower is None:
        return None
    files, space = folder / places.FILES, folder / places.SPACE
    holder, opaque = None, _OPAQUE
    if wanted.owner is None:
        holder, opaque = stack.enter_context(namespaces.held(folder, lower.files, wanted.disk_mb)), _OPAQUE_OF_A_USER
        if holder is None:
            return None
        files, space = namespaces.outside(holder, files), namespaces.outside(holder, space)
    elif not _mounted(lower.files, folder, wanted.disk_mb, wanted.owner):
        return None
    layers = Layers(space / bounds.UPPER, lower.files, opaque, lower.left_out)
    return Workspace(files, wanted.tree, "overlay", True, holder, layers, Missing(lower.missing))  # noqa: FBT003


def _lower(wanted: _Wanted, lowers: Lowers, folder: Path, stack: ExitStack) -> Lower | None:
    """Hold the lower directory, made now when it is not there; None where no overlay on it can be had."""
    key = lowers.key(wanted.tree, wanted.scope, wanted.owner)
    lower = stack.enter_context(lowers.held(key))
    if lower is None and _possible(lowers.folder, folder, wanted.owner):
        lower = stack.enter_context(lowers.made(key, wanted.clone, wanted.tree, wanted.may_read, wanted.owner))
    return lower


def _possible(lowers: Path, folder: Path, owner: int | None) -> bool:
    """Whether an overlay on a directory like `lowers` can be had, before a large tree is written for it."""
    lowers.mkdir(parents=True, exist_ok=True)
    if owner is None:
        with namespaces.held(folder, lowers, 1) as holder:
            return holder is not None
    possible = _mounted(lowers, folder, 1, owner)
    bounds.unmount(folder / places.FILES)
    bounds.unmount(folder / places.SPACE)
    return possible


def _mounted(lower: Path, folder: Path, disk_mb: int, owner: int) -> bool:
    """Mount the overlay as root. Return False, with nothing mounted, where it cannot be had."""
    space, files = folder / places.SPACE, folder / places.FILES
    with interrupts.held_back():
        space.mkdir(mode=0o700, exist_ok=True)
        if not bounds.mount(space, disk_mb):
            return False
        space.chmod(0o700)
        for name in (bounds.UPPER, bounds.WORK):
            (space / name).mkdir(mode=0o755)
        os.chown(space / bounds.UPPER, owner, owner)
        mounted = _marks(space / bounds.UPPER) and bounds.overlay(lower, space, files)
        if not mounted:
            bounds.unmount(space)
    return mounted


def _marks(upper: Path) -> bool:
    """Whether the file system keeps the marks of directories made anew: without them, deletions would hide."""
    probe = upper.parent / "probe"
    probe.mkdir()
    try:
        os.setxattr(probe, _OPAQUE, b"y")
    except OSError:
        return False
    finally:
        probe.rmdir()
    return True


def _copy(wanted: _Wanted, folder: Path) -> Workspace:
    """Return the copy as files of its own, on a file system of its own where possible."""
    files, bounded, owner = folder / places.FILES, False, wanted.owner
    count = sum(1 for _ in entries(wanted.clone, wanted.tree))
    try:
        with interrupts.held_back():
            bounded = owner is not None and bounds.mount(files, wanted.disk_mb, count)
        if owner is not None:
            os.chown(files, owner, owner)
        copied = materialise(wanted.clone, wanted.tree, files, wanted.may_read, owner)
    except OSError as error:
        raise _full(error, wanted.disk_mb, bounded=bounded) from error
    return Workspace(files, wanted.tree, "copy", bounded, None, None, Missing(lambda: copied))


def _shown(paths: list[bytes]) -> tuple[str, ...]:
    return tuple(sorted(visible(path.decode("utf-8", "surrogateescape")) for path in paths))


def _full(error: OSError, disk_mb: int, *, bounded: bool) -> StorageError:
    if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
        where = f" ({os.fsdecode(error.filename)})" if error.filename else ""
        return StorageError(
            f"the copy of the repository cannot be made: {error.strerror}{where}",
            hint="make the cache directory writable, or set AGENT_PIPELINE_CACHE to another directory",
        )
    where = f"the sandbox's disk of {disk_mb} MiB" if bounded else "the disk"
    hint = "raise `sandbox.disk_mb` in the policy" if bounded else "free some space, or set AGENT_PIPELINE_CACHE"
    return StorageError(f"the copy of the repository does not fit on {where}: {error.strerror}", hint=hint)
