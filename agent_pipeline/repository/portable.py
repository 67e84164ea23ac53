"""Which Git objects prove one request, without the repository around it: what a bundle carries.

A pure function of a few commits: computed where it is exported from, and computed again from what came out of the
bundle, it gives the same contents, or something is in the bundle that has no business there. From a base and its
result come the trees of the touched directories and the new contents, never old contents, never anything beside them:
the size follows the change, not the repository.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import pygit2
from pygit2.enums import ObjectType

from agent_pipeline.documents import bundle
from agent_pipeline.documents.git_object import GitObject
from agent_pipeline.documents.images_lock import PATH as IMAGES_PATH
from agent_pipeline.documents.images_lock import REQUIREMENTS
from agent_pipeline.documents.policy import PATH as POLICY_PATH
from agent_pipeline.errors import GitError, SchemaError
from agent_pipeline.repository import trust_files
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.listing import GITLINK, TREE, Entry, children
from agent_pipeline.repository.records import Record, is_carrier

_KINDS: Final = {ObjectType.COMMIT: "commit", ObjectType.TREE: "tree", ObjectType.BLOB: "blob"}
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){0,2}")
_SETTINGS: Final = ".agent-pipeline"
_MAX_ROWS: Final = 2_000_000  # in all directories that are looked at, again and again where somebody made it so
_Row = tuple[str, str]  # mode, object


@dataclass(frozen=True, slots=True)
class Heads:
    """The commits that a bundle is made from: the record, the rules in force, and how far it came."""

    record: Record
    rules: str
    staged: str | None = None
    merge: str | None = None


def collect(clone: Clone, heads: Heads) -> Contents:
    """Return a bundle's contents by name: `record/...`, `rules/...`, and all other objects as `objects/<name>`.

    Raises `GitError` when an object is missing, `SchemaError` when it is more than a bundle holds.
    """
    found = _Collection(clone)
    _record(found, heads.record)
    _rules(found, heads.rules, "rules/")
    for commit in (heads.staged, heads.merge):
        if commit is not None:
            found.add(commit)
    if heads.merge is not None:  # it was decided by the rules that its first parent has
        for base in clone.parents(heads.merge)[:1]:
            _rules(found, base, None)
    told = frozenset(found.named.values())
    return Contents(clone, found.named | {f"objects/{oid}": oid for oid in found.objects if oid not in told})


def record_objects(clone: Clone, record: Record) -> Iterator[GitObject]:
    """Yield the objects of a record and its carriers, and of their bases only the touched directories."""
    found = _Collection(clone)
    _record(found, record)
    return (read(clone, oid) for oid in found.objects)


def read(clone: Clone, oid: str) -> GitObject:
    """Return an object. Raises `GitError` when it is missing or damaged."""
    try:
        kind, data = clone.objects.odb.read(oid)
        return GitObject(_KINDS[ObjectType(kind)], data)
    except (KeyError, ValueError, pygit2.GitError) as error:
        raise GitError(f"object {oid} cannot be read: {error}", hint="see `git fsck`") from error


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a bundle: the object behind each name, read when it is asked for."""

    clone: Clone
    objects: Mapping[str, str]

    def read(self, name: str) -> bytes:
        """Return the content called `name`. Raises `GitError`."""
        found = read(self.clone, self.objects[name])
        return found.to_bytes() if name.startswith("objects/") else found.content


@dataclass(slots=True)
class _Collection:
    clone: Clone
    objects: dict[str, None] = field(default_factory=dict)  # a set that keeps its order
    named: dict[str, str] = field(default_factory=dict)
    unfolded: set[str] = field(default_factory=set)
    room: int = bundle.MAX_BYTES
    rows: int = _MAX_ROWS

    def listed(self, tree: str) -> list[Entry]:
        """Take a directory along, and return what is in it."""
        self.add(tree)
        found = list(islice(children(self.clone, tree), self.rows + 1))
        self.rows -= len(found) + 1
        if self.rows < 0:
            raise SchemaError(
                f"the directories have more than {_MAX_ROWS} entries",
                hint="nothing that verifies is so large; refuse it",
            )
        return found

    def add(self, oid: str) -> None:
        """Take an object along."""
        if oid in self.objects:
            return
        self.room -= self.clone.size(oid)
        if self.room < 0 or len(self.objects) >= bundle.MAX_CONTENTS or self.clone.size(oid) > bundle.MAX_CONTENT:
            raise SchemaError(
                f"this is more than a bundle holds: object {oid[:12]} does not fit any more",
                hint=f"at most {bundle.MAX_CONTENTS} objects, each {bundle.MAX_CONTENT} bytes, all {bundle.MAX_BYTES}",
            )
        self.objects[oid] = None

    def name(self, name: str, oid: str) -> None:
        """Take a file's content along under a name that says what it is, where a bundle may hold such a name."""
        self.add(oid)
        if _PLAIN.fullmatch(name.partition("/")[2]):
            self.named[name] = oid


def _record(found: _Collection, record: Record) -> None:
    """Take a record along: all its steps, and of each carrier what differs from its base."""
    history = frozenset(record.history())
    for commit in history:
        found.add(commit)
        _whole_tree(found, found.clone.tree(commit))
        for parent in found.clone.parents(commit):
            found.add(parent)
            if parent not in history and is_carrier(found.clone, parent):
                _carried(found, parent)
    for path, oid in record.listed().items():
        found.name(f"record/{path}", oid)


def _whole_tree(found: _Collection, tree: str) -> None:
    pending = [tree]
    while pending:
        here = pending.pop()
        if here not in found.unfolded:
            found.unfolded.add(here)
            for entry in found.listed(here):
                if entry.mode == TREE:
                    pending.append(entry.oid)
                elif entry.mode != GITLINK:
                    found.add(entry.oid)


def _carried(found: _Collection, carrier: str) -> None:
    for base in found.clone.parents(carrier)[:1]:
        found.add(base)
        _difference(found, found.clone.tree(base), found.clone.tree(carrier))


def _difference(found: _Collection, base: str, result: str) -> None:
    """Take along the trees of both sides in which something differs, and the new contents."""
    seen: set[tuple[str | None, str | None]] = set()
    pending: list[tuple[str | None, str | None]] = [(base, result)]
    while pending:
        pair = pending.pop()
        if pair in seen:
            continue
        seen.add(pair)
        before, after = (_rows(found, tree) for tree in pair)
        for name in before.keys() | after.keys():
            was, now = before.get(name), after.get(name)
            if was == now:
                continue
            if now is not None and now[0] not in (TREE, GITLINK):
                found.add(now[1])
            folders = tuple(row[1] if row is not None and row[0] == TREE else None for row in (was, now))
            if folders != (None, None):
                pending.append((folders[0], folders[1]))


def _rows(found: _Collection, tree: str | None) -> dict[bytes, _Row]:
    if tree is None:
        return {}
    return {entry.path: (entry.mode, entry.oid) for entry in found.listed(tree)}


def _rules(found: _Collection, commit: str, folder: str | None) -> None:
    """Take along the rules that a commit has, and the trees on the way to them; by name below `folder`."""
    found.add(commit)
    for path, oid in _rule_files(found, commit):
        if folder is not None:
            found.name(folder + path.removeprefix(f"{_SETTINGS}/"), oid)
        else:
            found.add(oid)


def _rule_files(found: _Collection, commit: str) -> Iterator[tuple[str, str]]:
    """Yield path and object of the files that are rules, adding the trees on the way."""
    tree: str | None = found.clone.tree(commit)
    found.add(str(tree))
    for part in (_SETTINGS, "trust"):
        tree = next(
            (e.oid for e in children(found.clone, str(tree)) if e.path == part.encode() and e.mode == TREE), None
        )
        if tree is None:
            return
        found.add(tree)
        for entry in children(found.clone, tree):
            path = f"{_SETTINGS}/{'trust/' if part == 'trust' else ''}{entry.path.decode('utf-8', 'surrogateescape')}"
            wanted = trust_files.is_envelope(path) or path in (POLICY_PATH, IMAGES_PATH, REQUIREMENTS)
            if wanted and entry.mode not in (TREE, GITLINK):
                yield path, entry.oid
