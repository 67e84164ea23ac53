"""`refs/attestations/trees`: the proofs of what was merged, in folders by tree, in the layout that gitsign uses.

Keyed by tree and not by commit, so that squash and rebase do not lose them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import pygit2

from agent_pipeline.repository import commits, trees
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.trees import Put

REF = "refs/attestations/trees"


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


def of_tree(clone: Clone, tip: str, tree: str) -> dict[str, bytes]:
    """Return the attestations of `tree` by file name; empty when there are none."""
    try:
        folder = clone.objects[tip].peel(pygit2.Tree)[tree]
    except KeyError:
        return {}
    if not isinstance(folder, pygit2.Tree):
        return {}
    return {item.name: item.data for item in folder if isinstance(item, pygit2.Blob) and item.name is not None}
