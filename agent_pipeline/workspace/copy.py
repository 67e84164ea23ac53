"""Making the virtual copy of one tree, and leaving nothing of it behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agent_pipeline.documents.paths import visible
from agent_pipeline.errors import StorageError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.trees import entries
from agent_pipeline.workspace import places
from agent_pipeline.workspace.materialise import Copied, materialise


@dataclass(frozen=True, slots=True)
class Workspace:
    """A copy at `path` of the tree `tree`.

    `withheld`: paths that the policy keeps from agents; `left_out`: paths that no directory can hold; both for people.
    `absent` holds both as stored. `bounded`: what is written there is limited in bytes and files by the kernel.
    """

    path: Path
    tree: str
    withheld: tuple[str, ...]
    left_out: tuple[str, ...]
    bounded: bool
    absent: frozenset[bytes] = field(repr=False)


@contextmanager
def create(
    clone: Clone,
    tree: str,
    *,
    may_read: Callable[[str], bool],
    parent: Path,
    disk_mb: int,
    uid: int,
) -> Iterator[Workspace]:
    """Make a copy of `tree` below `parent`, and remove it however the block ends.

    Modes, links, line endings and empty files are as in the tree; submodules are empty directories. As root the copy
    belongs to `uid` and lies on a tmpfs of `disk_mb` MiB, contents included; otherwise it belongs to the caller and is
    not bounded. Raises `StorageError` when it does not fit, `GitError` when an object is missing.
    """
    owner = uid if os.geteuid() == 0 else None
    count = sum(1 for _ in entries(clone, tree))
    with places.held(parent, owner, disk_mb, count) as (files, bounded):
        try:
            copied = materialise(clone, tree, files, may_read, owner)
        except OSError as error:
            raise _full(error, disk_mb, bounded=bounded) from error
        yield _workspace(files, tree, copied, bounded=bounded)


def _workspace(files: Path, tree: str, copied: Copied, *, bounded: bool) -> Workspace:
    def shown(paths: list[bytes]) -> tuple[str, ...]:
        return tuple(sorted(visible(path.decode("utf-8", "surrogateescape")) for path in paths))

    absent = frozenset((*copied.withheld, *copied.left_out))
    return Workspace(files, tree, shown(copied.withheld), shown(copied.left_out), bounded, absent)


def _full(error: OSError, disk_mb: int, *, bounded: bool) -> StorageError:
    where = f"the sandbox's disk of {disk_mb} MiB" if bounded else "the disk"
    hint = "raise `sandbox.disk_mb` in the policy" if bounded else "free some space, or set AGENT_PIPELINE_CACHE"
    return StorageError(f"the copy of the repository does not fit on {where}: {error.strerror}", hint=hint)
