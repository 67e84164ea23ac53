"""`refs/attestations/trees`: the proofs of what was merged, in folders by tree, in the layout that gitsign uses.

Keyed by tree and not by commit, so that squash and rebase do not lose them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from pygit2.enums import FileMode

from agent_pipeline.documents import strict
from agent_pipeline.errors import SchemaError
from agent_pipeline.repository import commits, trees
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.listing import FILE, Entry, children, entries, read_tree
from agent_pipeline.repository.trees import Put

REF = "refs/attestations/trees"
MAX_TOTAL: Final = 64 << 20  # bytes of all attestations of one tree
MAX_TREES: Final = 40 << 20  # bytes of the folder of all trees itself: more merges than the log can hold
_MAX_ROWS: Final = 1_000_000  # trees and attestations in all that are looked through
_LEVELS: Final = 2  # `<tree>/<name>.intoto.jsonl`
_MAX_FOLDER: Final = strict.MAX_BYTES  # bytes of one tree's folder itself: its names, at some 70 bytes each


def add(clone: Clone, tip: str | None, tree: str, envelopes: Mapping[str, bytes], moment: datetime) -> str:
    """Return a new commit on `tip` whose tree also holds `<tree>/<name>.intoto.jsonl` for each envelope.

    Raises `SchemaError` when `tip` names more trees than anybody merged: somebody wrote that by hand.
    """
    if tip is not None and not _is_folder(clone, tip):
        raise SchemaError(
            f"{REF} has more than {MAX_TREES} bytes of names of trees",
            hint="find out who pushed it, and restore the ref from another clone",
        )
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

    Anyone with push access can write the ref: what is too large to be an envelope is left out, and what is there under
    many names is yielded once.
    """
    yielded: set[str] = set()
    for entry in entries(clone, clone.tree(tip), most=_MAX_ROWS, deepest=_LEVELS, largest=MAX_TREES):
        if entry.oid not in yielded and _is_envelope(clone, entry):
            yielded.add(entry.oid)
            yield clone.blob(entry.oid).removesuffix(b"\n")


def of_tree(clone: Clone, tip: str, tree: str) -> dict[str, bytes]:
    """Return the attestations of `tree` by file name; empty when there are none. Raises `GitError`.

    Anyone with push access can write the ref: what is too large to be an envelope is left out, as is what comes after
    more than `MAX_TOTAL` bytes, and all of a folder with more names than proofs can have.
    """
    if not _is_folder(clone, tip):
        return {}
    try:
        folder = read_tree(clone, clone.tree(tip))[tree]
    except KeyError:
        return {}
    if folder.filemode != FileMode.TREE or clone.size(str(folder.id)) > _MAX_FOLDER:
        return {}
    contents: dict[str, bytes] = {}  # many names of one object are read once
    found: dict[str, bytes] = {}
    room = MAX_TOTAL
    for entry in children(clone, str(folder.id)):
        if not _is_envelope(clone, entry):
            continue
        if entry.oid not in contents:
            room -= clone.size(entry.oid)
            if room < 0:
                break
            contents[entry.oid] = clone.blob(entry.oid)
        found[entry.path.decode("utf-8", "surrogateescape")] = contents[entry.oid]
    return found


def _is_folder(clone: Clone, tip: str) -> bool:
    """Return whether the folder of all trees can be one by its size: it is not read for that."""
    return clone.size(clone.tree(tip)) <= MAX_TREES


def _is_envelope(clone: Clone, entry: Entry) -> bool:
    """Return whether an entry can be an envelope by its mode, name and size: it is not read for that."""
    return entry.mode == FILE and entry.path.endswith(b".intoto.jsonl") and clone.size(entry.oid) <= strict.MAX_BYTES
