"""Reading trees: one directory, or everything in one. Names are bytes as stored; nothing here judges them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pygit2
from pygit2.enums import FileMode

from agent_pipeline.documents.characters import visible
from agent_pipeline.errors import GitError, PathError
from agent_pipeline.repository.clone import MAX_FOLDER, Clone

FILE: Final = "100644"
EXECUTABLE: Final = "100755"
SYMLINK: Final = "120000"
GITLINK: Final = "160000"
TREE: Final = "40000"
MODES: Final = (FILE, EXECUTABLE)
_MAX_WALK: Final = 5_000_000  # entries; a tree can name itself many times over and unfold without end
MAX_DEPTH: Final = 500


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, link or submodule of a tree. `path` is bytes as stored; `mode` as Git writes it, `100644` and so on."""

    path: bytes
    mode: str
    oid: str


@dataclass(slots=True)
class Count:
    """How many entries were listed so far, directories included: also where it ended with an error."""

    entries: int = 0


def read_tree(clone: Clone, oid: str, *, most: int = MAX_FOLDER) -> pygit2.Tree:
    """Return a tree object. Raises `GitError` when it is missing, damaged or something else.

    So it does for one of more than `most` bytes, before it is read: a few bytes in a pack are a gigabyte of rows.
    """
    size = clone.size(oid)
    if size > most:
        raise GitError(f"tree {oid} has {size} bytes; at most {most} are read here")
    try:
        found = clone.objects[oid]
    except (KeyError, ValueError, pygit2.GitError) as error:
        raise GitError(
            f"tree {oid} cannot be read: {error}", hint="fetch again; if it persists, see `git fsck`"
        ) from error
    if not isinstance(found, pygit2.Tree):
        raise GitError(f"object {oid} is no tree")
    return found


def children(clone: Clone, tree: str, *, largest: int = MAX_FOLDER) -> Iterator[Entry]:
    """Yield what stands directly in `tree`; `path` is the name alone, directories too.

    Raises `GitError`, also for a tree of more than `largest` bytes.
    """
    for item in read_tree(clone, tree, most=largest):
        yield Entry(item.raw_name or b"", f"{item.filemode:o}", str(item.id))


def content(clone: Clone, oid: str) -> memoryview:
    """Return a blob's bytes without a copy. Raises `GitError` when it is missing, damaged or something else."""
    try:
        found = clone.objects[oid]
    except (KeyError, ValueError, pygit2.GitError) as error:
        raise GitError(f"object {oid} cannot be read: {error}", hint="fetch again; see `git fsck`") from error
    if not isinstance(found, pygit2.Blob):
        raise GitError(f"object {oid} is no file content: the repository is damaged", hint="see `git fsck`")
    return memoryview(found)


def entries(
    clone: Clone,
    tree: str,
    *,
    most: int = _MAX_WALK,
    deepest: int = MAX_DEPTH,
    largest: int = MAX_FOLDER,
    count: Count | None = None,
) -> Iterator[Entry]:
    """Yield every file, link and submodule of `tree` in Git's order, directories unfolded.

    Raises `GitError`, also for a tree with more than `most` entries, directories included, or `deepest` levels, and for
    a directory of more than `largest` bytes. `count` goes on with every entry.
    """
    stack: list[tuple[bytes, Iterator[pygit2.Object]]] = [(b"", iter(read_tree(clone, tree, most=largest)))]
    count = count if count is not None else Count()
    end = count.entries + most
    while stack:
        prefix, items = stack[-1]
        item = next(items, None)
        if item is None:
            stack.pop()
            continue
        path = prefix + (item.raw_name or b"")
        count.entries += 1
        if count.entries > end or len(stack) > deepest:
            raise GitError(f"tree {tree} has more than {most} entries or {deepest} levels")
        if item.filemode == FileMode.TREE:
            stack.append((path + b"/", iter(read_tree(clone, str(item.id), most=largest))))
        else:
            yield Entry(path, f"{item.filemode:o}", str(item.id))


def refused(path: str, reason: str) -> PathError:
    """Return the error for a path that cannot be part of a change."""
    return PathError(f"`{visible(path)}`: {reason}", hint="a proposal carries plain files with plain names only")
