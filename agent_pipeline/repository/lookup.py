"""Looking single paths up in one tree, without walking it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pygit2

from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.listing import TREE, Entry, read_tree


class Lookup:
    """Answers for one tree. Each directory on the way is read once."""

    def __init__(self, clone: Clone, tree: str) -> None:
        """Nothing is read yet."""
        self._clone = clone
        self._trees: dict[bytes, pygit2.Tree | None] = {}
        self._top = tree

    def find(self, path: bytes) -> Entry | None:
        """Return what stands at `path`, directories too; None for nothing. Raises `GitError`."""
        above, _, name = path.rpartition(b"/")
        tree = self._tree(above)
        text = os.fsdecode(name)
        if tree is None or text not in tree:
            return None
        item = tree[text]
        return Entry(path, f"{item.filemode:o}", str(item.id))

    def children(self, path: bytes) -> Iterator[Entry]:
        """Yield what stands directly in the directory `path` (empty: the top), with full paths. Raises `GitError`."""
        prefix = path + b"/" if path else b""
        for item in self._tree(path) or ():
            yield Entry(prefix + (item.raw_name or b""), f"{item.filemode:o}", str(item.id))

    def holds_files(self, path: bytes) -> bool:
        """Whether the directory `path` is there and has a file, link or submodule in it, at any depth."""
        return any(item.mode != TREE or self.holds_files(item.path) for item in self.children(path))

    def _tree(self, path: bytes) -> pygit2.Tree | None:
        if path not in self._trees:
            if not path:
                self._trees[path] = read_tree(self._clone, self._top)
            else:
                found = self.find(path)
                folder = found is not None and found.mode == TREE
                self._trees[path] = read_tree(self._clone, found.oid) if found is not None and folder else None
        return self._trees[path]
