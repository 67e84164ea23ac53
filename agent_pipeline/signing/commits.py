"""Signed commits that put files on a branch: the setup, and new versions of the trust root."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from agent_pipeline.repository import commits, trees
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.trees import Put
from agent_pipeline.signing.hand import Hand


def commit_files(
    clone: Clone, parent: str, files: Mapping[str, bytes], message: str, hand: Hand, moment: datetime
) -> str:
    """Return a commit on `parent` that also holds `files`, signed by `hand`. No ref is moved."""
    puts = {path: Put(data, "100644") for path, data in files.items()}
    tree = trees.build(clone, clone.tree(parent), puts)
    draft = commits.draft(clone, tree, [parent], message, hand.name, hand.email, moment)
    return commits.write(clone, draft, hand.signer.commit(draft))
