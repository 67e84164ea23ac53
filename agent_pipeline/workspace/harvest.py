"""What changed in a copy, read when nothing of its sandbox lives any more.

Content alone counts: neither times nor sizes nor a directory's own claims. What is there was put there by hostile code:
nothing is opened but regular files and directories, by handle, below the copy's own top, on its own file system, never
through a link; and bytes, files, depth and time are bounded. Of an overlay only what was written is read; of a full
copy every path.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent_pipeline import clock
from agent_pipeline.documents import paths
from agent_pipeline.errors import StorageError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.lookup import Lookup
from agent_pipeline.repository.trees import entries
from agent_pipeline.workspace.comparison import Comparison
from agent_pipeline.workspace.copy import Workspace
from agent_pipeline.workspace.findings import Findings, Harvest
from agent_pipeline.workspace.ignoring import Ignored
from agent_pipeline.workspace.upper import Upper

__all__ = ["Harvest", "harvest"]


def harvest(  # noqa: PLR0913 - every bound is the caller's
    clone: Clone,
    workspace: Workspace,
    *,
    ignore: Sequence[str],
    max_bytes: int,
    max_files: int,
    depth: int = paths.MAX_DEPTH,
    seconds: float = 60,
) -> Harvest:
    """Compare `workspace` with the tree it was made from. Only to be relied on when its sandbox is closed.

    `ignore` are gitignore patterns beside the base's own .gitignore files; they apply to untracked files only. Paths
    that were withheld or left out never count as deleted, and what was made in their place is refused. Raises
    `PolicyError` when there is more than `max_bytes` or `max_files` of change, or it takes more than `seconds`.
    """
    until = clock.monotonic() + seconds
    try:
        if workspace.layers is not None:
            lookup = Lookup(clone, workspace.tree)
            found = Findings(clone, Ignored(clone, lookup.find, ignore), max_bytes, max_files, depth, until)
            left_out = frozenset(workspace.missing.copied.left_out) if workspace.layers.left_out else frozenset()
            Upper(workspace.layers, lookup, left_out, found).read()
        else:
            base = {entry.path: entry for entry in entries(clone, workspace.tree)}
            found = Findings(clone, Ignored(clone, base.get, ignore), max_bytes, max_files, depth, until)
            Comparison(base, workspace.absent, found).read(workspace)
    except OSError as error:
        raise StorageError(f"cannot read the sandbox's files in {workspace.path}: {error}") from error
    return found.result()
