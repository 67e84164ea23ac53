"""Whether a record only grew: files that one of its steps took away or exchanged, and where its history was cut.

Records are a stranger's: what does not differ is not unfolded, and what is looked at is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from agent_pipeline.documents.characters import visible
from agent_pipeline.errors import GitError, SchemaError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.listing import TREE, Entry, children
from agent_pipeline.repository.records import MAX_FILES, MAX_FOLDER, Record, is_carrier

_MOST: Final = 200_000  # entries of directories, in all steps together
_MOST_OF_TWO: Final = 4 * MAX_FILES + 2  # in two steps: all that both may hold, and as many directories


@dataclass(frozen=True, slots=True)
class Cut:
    """The step `commit` of a record does not continue it: `what` says how."""

    commit: str
    what: str


def cuts(record: Record) -> Iterator[Cut]:
    """Yield the steps that take something away from the record, oldest first.

    Raises `SchemaError` for more than is looked at, `GitError` when an object is missing.
    """
    clone, look = record.clone, _Look(record.clone, _MOST)
    before: str | None = None
    for commit in reversed(record.history()):
        if before is None:
            if not all(is_carrier(clone, parent) for parent in clone.parents(commit)):
                yield Cut(commit, "follows a commit that is no step of it")
        elif gone := look.gone(clone.tree(before), clone.tree(commit)):
            yield Cut(commit, f"takes away or exchanges {', '.join(gone[:3])}")
        before = commit


def grew(clone: Clone, older: str, newer: str) -> bool:
    """Return whether the commit `newer` continues `older` and has all its files yet. Raises as `cuts` does."""
    return clone.is_ancestor(older, newer) and not _Look(clone, _MOST_OF_TWO).gone(clone.tree(older), clone.tree(newer))


@dataclass(slots=True)
class _Look:
    clone: Clone
    room: int

    def gone(self, old: str, new: str) -> list[str]:
        """Return the paths of the tree `old` that `new` has not, or has otherwise.

        Two directories that stand beside each other again and again are looked at once.
        """
        found: list[str] = []
        looked: set[tuple[str, str]] = set()
        pending = [(b"", old, new)]
        while pending:
            prefix, one, other = pending.pop()
            if one == other or (one, other) in looked:
                continue
            looked.add((one, other))
            after = self._listed(other)
            for path, entry in self._listed(one).items():
                now = after.get(path)
                if now is not None and (now.mode, now.oid) == (entry.mode, entry.oid):
                    continue
                if now is not None and now.mode == entry.mode == TREE:
                    pending.append((prefix + path + b"/", entry.oid, now.oid))
                else:
                    found.append(visible((prefix + path).decode("utf-8", "surrogateescape")))
        return sorted(found)

    def _listed(self, tree: str) -> dict[bytes, Entry]:
        """Return what stands in a directory. Raises `SchemaError` for more than there is room for: before it is read.

        Its size is looked at first, as whoever reads the record does: the names of a gigabyte are a small push.
        """
        try:
            found = islice(children(self.clone, tree, largest=MAX_FOLDER), self.room + 1)
            listed = {entry.path: entry for entry in found}
        except GitError as error:
            raise SchemaError(f"it is no record: {error.message}") from error
        self.room -= len(listed) + 1
        if self.room < 0:
            raise SchemaError("its steps have more entries of directories than are looked at")
        return listed
