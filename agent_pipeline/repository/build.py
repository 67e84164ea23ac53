"""The next tree from a base and a manifest of full contents.

No diff is ever applied: they are read differently by different programs, and libgit2 writes through links. A tree is
built on the touched directories only. Refused is what would mean something else on another machine: bad names, names
that collide with a neighbour's, links and submodules in the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pygit2
from pygit2.enums import FileMode

from agent_pipeline.documents import paths
from agent_pipeline.documents.characters import visible
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.listing import EXECUTABLE, FILE, MAX_DEPTH, MODES, read_tree, refused

_LINKS: Final = {FileMode.LINK: "a symbolic link", FileMode.COMMIT: "a submodule"}


@dataclass(frozen=True, slots=True)
class Put:
    """The full content of a file, and its mode (100644 or 100755)."""

    content: bytes
    mode: str


@dataclass(slots=True)
class _Node:
    """What changes in one directory: files by name, and the directories below."""

    files: dict[str, Put | None] = field(default_factory=dict)
    folders: dict[str, _Node] = field(default_factory=dict)


def build(clone: Clone, base_tree: str, changes: Mapping[str, Put | None]) -> str:
    """Return the id of the tree that is `base_tree` with every path of `changes` put or (None) deleted.

    Only touched directories are read and written. Raises `PathError` for a path that no proposal may carry; a deletion
    of what is not there; a file where a directory is, or below a file; a name that collides with a neighbour's; and
    anything put over or below a symbolic link or submodule.
    """
    root = _Node()
    for path, put in changes.items():
        _plan(root, path, put)
    return _apply(clone, base_tree, root, "") or _empty(clone)


def _empty(clone: Clone) -> str:
    return str(clone.objects.TreeBuilder().write())


def _plan(root: _Node, path: str, put: Put | None) -> None:
    if put is not None:
        paths.check(path)
        if put.mode not in MODES:
            raise refused(path, f"mode {put.mode} is neither {FILE} nor {EXECUTABLE}")
    *folders, name = path.split("/")
    if not name or "" in folders or len(folders) >= MAX_DEPTH or paths.has_surrogates(path):
        raise refused(path, "it is no path of a file")
    node = root
    for folder in folders:
        node = node.folders.setdefault(folder, _Node())
    node.files[name] = put


def _apply(clone: Clone, base: str | None, node: _Node, prefix: str) -> str | None:
    """Return the new tree for one directory, None when nothing is left in it."""
    source = read_tree(clone, base) if base is not None else None
    builder = clone.objects.TreeBuilder() if source is None else clone.objects.TreeBuilder(source)
    added, removed = set(), set()
    for name in {**node.files, **node.folders}:
        before = _lookup(source, name)
        after = _entry(clone, before, node, name, prefix + name)
        try:
            if after is not None:
                builder.insert(name, *after)
            elif before is not None:
                builder.remove(name)
        except (ValueError, OSError, pygit2.GitError) as error:
            raise refused(prefix + name, f"Git does not store such a name ({error})") from error
        if after is not None and before is None:
            added.add(name)
        elif after is None:
            removed.add(name)
    _check_neighbours(source, added, removed, prefix)
    return str(builder.write()) if len(builder) else None


def _lookup(source: pygit2.Tree | None, name: str) -> pygit2.Object | None:
    if source is None:
        return None
    try:
        return source[name]
    except (KeyError, ValueError):
        return None


def _entry(
    clone: Clone, before: pygit2.Object | None, node: _Node, name: str, path: str
) -> tuple[str, FileMode] | None:
    """Return what stands at `name` afterwards, None for nothing. Deletions come first, so a file can make way."""
    kept = None if before is None else (str(before.id), FileMode(before.filemode))
    put = node.files.get(name)
    if kept is not None and kept[1] in _LINKS and (put is not None or name in node.folders):
        raise refused(path, f"in the base it is {_LINKS[kept[1]]}, and nothing is written over or below one")
    if name in node.files and put is None:
        if kept is None or kept[1] == FileMode.TREE:
            raise refused(path, "it is to be deleted, but there is no such file in the base")
        kept = None
    if name in node.folders:
        if kept is not None and kept[1] != FileMode.TREE:
            raise refused(path, "it is a file, and other files are to be below it")
        below = _apply(clone, kept[0] if kept is not None else None, node.folders[name], f"{path}/")
        kept = (below, FileMode.TREE) if below is not None else None
    if put is None:
        return kept
    if kept is not None and kept[1] == FileMode.TREE:
        raise refused(path, "it is to be a file, but it is a directory")
    return str(clone.objects.create_blob(put.content)), FileMode(int(put.mode, 8))


def _check_neighbours(source: pygit2.Tree | None, added: set[str], removed: set[str], prefix: str) -> None:
    """Refuse new names that some file system takes for a neighbour's. What the base holds already is not judged."""
    if not added:
        return
    keys: dict[str, str] = {}
    for name in sorted(added):
        other = keys.setdefault(paths.collision_key(name), name)
        if other != name:
            raise refused(prefix + name, f"on some file systems it is the same file as `{visible(other)}`")
    for item in source or ():
        name = item.name or ""
        clash = keys.get(paths.collision_key(name))
        if clash is not None and name not in removed:
            raise refused(prefix + clash, f"on some file systems it is the same file as `{visible(name)}`")
