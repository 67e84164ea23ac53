"""`refs/attestations/trees`: the proofs of what was merged, in folders by tree, in the layout that gitsign uses.

Keyed by tree and not by commit, so that squash and rebase do not lose them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

import pygit2

from agent_pipeline.documents import strict
from agent_pipeline.repository import commits, trees
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.listing import FILE, entries
from agent_pipeline.repository.trees import Put

REF = "refs/attestations/trees"
_LEVELS: Final = 2  # `<tree>/<name>.intoto.jsonl`


def add(clone: Clone, tip: str | None, tree: str, envelopes: Mapping[str, bytes], moment: datetime) -> str:
    """Return a new commit on `tip` whose tree also holds `<tree>/<name>.intoto.jsonl` for each envelope."""
    base = clone.tree(tip) if tip is not None else str(clone.objects.TreeBuilder().write())
    files = {f"{tree}/{name}.intoto.jsonl": Put(data + b"\n", "100644") for name, data in envelopes.items()}
    result = trees.build(clone, base, files)
    draft = commits.draft(
        clone,
        result,
        [tip] if tip is not None else [],
        f"Attestations of tree {tree}\n",
        "agent-pipeline",
        "agent-pipeline@localhost",
        moment,
    )
    return commits.write(clone, draft, None)


def every(clone: Clone, tip: str) -> Iterator[bytes]:
    """Yield every envelope that is kept, of whatever tree. Raises `GitError` for what is no such folder.

    Anyone with push access can write the ref: what is too large to be an envelope is left out.
    """
    for entry in entries(clone, clone.tree(tip), deepest=_LEVELS):
        if entry.mode == FILE and entry.path.endswith(b".intoto.jsonl") and clone.size(entry.oid) <= strict.MAX_BYTES:
            yield clone.blob(entry.oid).removesuffix(b"\n")


def of_tree(clone: Clone, tip: str, tree: str) -> dict[str, bytes]:
    """Return the attestations of `tree` by file name; empty when there are none."""
    try:
        folder = clone.objects[tip].peel(pygit2.Tree)[tree]
    except KeyError:
        return {}
    if not isinstance(folder, pygit2.Tree):
        return {}
    return {item.name: item.data for item in folder if isinstance(item, pygit2.Blob) and item.name is not None}
