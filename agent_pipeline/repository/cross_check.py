"""A second opinion on a tree: the git command must see exactly the change that pygit2 saw, and find nothing wrong.

Two parsers must agree before anything is signed: what one of them overlooks is where an attack would hide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from agent_pipeline import temporary
from agent_pipeline.documents.proposal import PUT, Change
from agent_pipeline.errors import PathError, StorageError
from agent_pipeline.repository.build import Put, build
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.git import attempt, borrowing, git

_ABSENT: Final = "000000"
_TREE: Final = "040000"

_Row = tuple[str, str, str, str, bytes]  # mode before, mode after, object before, object after, path


def cross_check(clone: Clone, base_tree: str, tree: str, changes: Sequence[Change], *, whole: bool = True) -> None:
    """Raise `PathError` unless Git agrees that `changes` is all that differs, and accepts the paths and new objects.

    The changes put on the base must also give exactly `tree`. A repository that is not `whole` lacks what the trees
    name and the change does not touch; its objects were checked when it was made (`quarantine.py`).

    Raises `GitError` when Git cannot be asked, `StorageError` when there is no room for its temporary files.
    """
    rows = list(_rows(clone, base_tree, tree))
    seen = {row for row in rows if _TREE not in row[:2]}
    said = {_expected(change) for change in changes}
    if seen != said or len(said) != len(changes):
        odd = sorted({row[4].decode("utf-8", "backslashreplace") for row in seen ^ said})
        raise PathError(
            f"Git does not see the same change in tree {tree}: {', '.join(odd[:5]) or 'a path is listed twice'}",
            hint="the tree was made to be read in two ways; refuse it",
        )
    _check_rebuilt(clone, base_tree, tree, changes)
    new = {tree, *(row[3] for row in rows if row[1] != _ABSENT)}
    try:
        with temporary.scratch("check") as folder:
            _check_paths(clone, changes, folder)
            if whole:
                _check_objects(clone, new, folder)
    except OSError as error:
        raise StorageError(
            f"no temporary files for checking a tree: {error}", hint="free some space in TMPDIR"
        ) from error


def _check_rebuilt(clone: Clone, base_tree: str, tree: str, changes: Sequence[Change]) -> None:
    """Put the manifest on the base again: what both parsers overlook (such as mode 100664) gives another tree."""
    manifest = {
        change.path: Put(clone.blob(change.object), change.mode) if change.object and change.mode else None
        for change in changes
    }
    if (again := build(clone, base_tree, manifest)) != tree:
        raise PathError(
            f"tree {tree} is not what its own changes make of the base (that is {again})",
            hint="nothing that this program builds looks like this; refuse it",
        )


def _rows(clone: Clone, base_tree: str, tree: str) -> Iterator[_Row]:
    """Yield what `git diff-tree` says, directories included."""
    flags = ("-r", "-t", "-z", "--raw", "--no-renames", "--no-abbrev", "--no-ext-diff", "--no-textconv")
    said = git(clone, "diff-tree", *flags, "--end-of-options", base_tree, tree).split(b"\0")
    for header, path in zip(said[0:-1:2], said[1::2], strict=True):
        before, after, old, new, _status = header.decode("ascii").removeprefix(":").split(" ")
        yield before, after, old, new, path


def _expected(change: Change) -> _Row:
    nothing = "0" * len(change.object or change.base_object or "")
    return (
        change.base_mode or _ABSENT,
        change.mode or _ABSENT,
        change.base_object or nothing,
        change.object or nothing,
        change.path.encode(),
    )


def _check_paths(clone: Clone, changes: Iterable[Change], folder: Path) -> None:
    """Let Git's own index judge the names, with its protections for HFS+ and NTFS on."""
    lines = b"".join(
        f"{change.mode} {change.object}\t{change.path}".encode() + b"\0" for change in changes if change.op == PUT
    )
    index = {"GIT_INDEX_FILE": str(folder / "index")}
    done = attempt(clone, "update-index", "-z", "--index-info", stdin=lines, env=index)
    if not done.ok:
        raise PathError(f"Git refuses a path of the change: {done.explain()}", hint="choose another name for the file")


def _check_objects(clone: Clone, oids: Iterable[str], folder: Path) -> None:
    """Let Git's strictest check read the new objects, in a bare repository of their own that borrows the base's."""
    names = "".join(f"{oid}\n" for oid in sorted(oids)).encode()
    pack = git(clone, "pack-objects", "--stdout", "--quiet", "--no-reuse-delta", stdin=names)
    bare = folder / "check.git"
    git(bare, "init", "--quiet", "--bare", "--template=", "--", str(bare))
    done = attempt(bare, "index-pack", "--strict", "--fsck-objects", "--stdin", stdin=pack, env=borrowing(clone))
    if not done.ok:
        raise PathError(
            f"Git's strict check refuses the new tree: {done.explain()}", hint="make the change another way"
        )
