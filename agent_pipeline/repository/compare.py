"""The complete difference of two trees, as the manifest has it.

The result tree may come from a stranger: it is bounded in number, depth and bytes before anything is unfolded or read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pygit2.enums import FileMode

from agent_pipeline.documents import paths, strict
from agent_pipeline.documents.proposal import DELETE, PUT, Change
from agent_pipeline.errors import PathError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.listing import MODES, read_tree, refused

MAX_CHANGES: Final = 10_000  # as in the proposal's schema
MAX_BYTES: Final = 256 << 20  # of all new contents together
_MAX_DEPTH: Final = 500
_MAX_TREE: Final = 64 << 20  # bytes of one directory
_MAX_APART: Final = 2 * MAX_CHANGES * 300  # bytes by which two directories differ: a mode, 255 of a name, an object

_Item = tuple[str, str]  # mode, object
_Pair = tuple[bytes, _Item | None, _Item | None]


def compare(clone: Clone, base_tree: str, tree: str) -> tuple[Change, ...]:
    """Return every path that differs between two trees, sorted by the path's bytes.

    Raises `PathError` for a change that no manifest can hold: a name that is refused, a link, a submodule, too many
    files or bytes; `GitError` when a tree cannot be read.
    """
    changes, total = [], 0
    for path, before, after in sorted(differences(clone, base_tree, tree)):
        change = _change(clone, _name(path), before, after, MAX_BYTES - total)
        total += change.size or 0
        changes.append(change)
    return tuple(changes)


def _change(clone: Clone, name: str, before: _Item | None, after: _Item | None, room: int) -> Change:
    base_mode, base_object = before or (None, None)
    if after is None:
        return Change(name, DELETE, base_object=base_object, base_mode=base_mode)
    paths.check(name)
    mode, oid = after
    if mode not in MODES:
        raise refused(name, f"it becomes something else than a file (mode {mode})")
    if clone.size(oid) > room:
        raise PathError(f"the changed files have more than {MAX_BYTES} bytes", hint="make a smaller change")
    content = clone.blob(oid)
    return Change(
        path=name,
        op=PUT,
        mode=mode,
        sha256=strict.sha256(content),
        size=len(content),
        object=oid,
        base_object=base_object,
        base_mode=base_mode,
    )


def _name(path: bytes) -> str:
    try:
        return path.decode("utf-8")
    except UnicodeDecodeError:
        raise refused(path.decode("utf-8", "surrogateescape"), "its name is no UTF-8") from None


def differences(clone: Clone, base_tree: str | None, tree: str) -> Iterator[_Pair]:
    """Yield what differs, by path: mode and object before (None: nothing) and after, in no order.

    Both trees are walked side by side, below directories that differ only: the time is that of the change, whatever the
    trees hold. None for `base_tree` is the empty tree. Raises `PathError` beyond `MAX_CHANGES`, `GitError`.
    """
    pending: list[tuple[bytes, str | None, str | None]] = [(b"", base_tree, tree)]
    count = 0
    while pending:
        prefix, old, new = pending.pop()
        _check_sizes(clone, old, new)
        before, after = _listing(clone, old), _listing(clone, new)
        for name in before.keys() | after.keys():
            was, now = before.get(name), after.get(name)
            if was == now:
                continue
            count += 1
            if count > 2 * MAX_CHANGES or prefix.count(b"/") > _MAX_DEPTH:
                raise PathError(f"more than {MAX_CHANGES} paths differ", hint="make a smaller change")
            was_folder, now_folder = _folder(was), _folder(now)
            if was_folder or now_folder:
                pending.append((prefix + name + b"/", was_folder, now_folder))
            file_was, file_now = (None if was_folder else was), (None if now_folder else now)
            if file_was or file_now:
                yield prefix + name, file_was, file_now


def _check_sizes(clone: Clone, old: str | None, new: str | None) -> None:
    """Raise `PathError` for two directories between which more differs than may, by their sizes: neither is read."""
    before, after = (0 if oid is None else clone.size(oid) for oid in (old, new))
    if abs(after - before) > _MAX_APART:
        raise PathError(f"more than {MAX_CHANGES} paths differ", hint="make a smaller change")


def _folder(item: _Item | None) -> str | None:
    return item[1] if item is not None and item[0] == f"{FileMode.TREE:o}" else None


def _listing(clone: Clone, oid: str | None) -> dict[bytes, _Item]:
    if oid is None:
        return {}
    if clone.size(oid) > _MAX_TREE:
        raise PathError(f"tree {oid} has {clone.size(oid)} bytes; at most {_MAX_TREE} are read")
    tree = read_tree(clone, oid)
    found = {item.raw_name or b"": (f"{item.filemode:o}", str(item.id)) for item in tree}
    if len(found) != len(tree) or any(b"/" in name for name in found):
        raise PathError(f"tree {oid} names a file twice or holds a name with a `/`: Git makes no such trees")
    return found
