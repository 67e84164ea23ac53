"""Which files differ between two trees, by path and object: for what we stored ourselves, where nothing is a secret."""

from __future__ import annotations

import pygit2
from pygit2.enums import DeltaStatus, FileMode

from agent_pipeline.errors import GitError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.listing import read_tree


def changed_files(clone: Clone, old: str | None, new: str) -> dict[str, str | None]:
    """Return the object of every file that `new` has otherwise than `old` (None: the empty tree), None for one gone.

    What is no regular file is given with its mode before the object, so that it equals nothing that is expected. Raises
    `GitError`.
    """
    try:
        tree = read_tree(clone, new)
        diff = tree.diff_to_tree(swap=True) if old is None else read_tree(clone, old).diff_to_tree(tree)
        deltas = list(diff.deltas)
    except (KeyError, ValueError, pygit2.GitError) as error:
        raise GitError(f"trees {old} and {new} cannot be compared: {error}") from error
    found: dict[str, str | None] = {}
    for delta in deltas:
        if delta.status == DeltaStatus.DELETED:
            found.setdefault(delta.old_file.path, None)
        else:
            regular = delta.new_file.mode == FileMode.BLOB
            found[delta.new_file.path] = (
                str(delta.new_file.id) if regular else f"{delta.new_file.mode:o} {delta.new_file.id}"
            )
    return found


def blob_id(data: bytes) -> str:
    """Return the id of the blob with this content; nothing is stored."""
    return str(pygit2.hash(data))
