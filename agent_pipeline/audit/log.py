"""The shared log `refs/agent-pipeline/log` in Git: one commit per entry.

A commit's tree holds the signed entry, `entry.dsse.json`, and the log before it: all envelopes by index in `entries/`,
and in `state/` the map of what they are about. Nothing of it is believed: what is read is compared with what the
newest entry's signature covers. Appending makes a commit and moves no ref: the caller publishes it together with
everything else that the entry is about, with a lease on the head that it read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from agent_pipeline.attestation import log_entries, log_tree, merkle, state_map
from agent_pipeline.attestation.log_entries import Roots, Signed
from agent_pipeline.documents import moments, strict
from agent_pipeline.documents.log_entry import EVERYTHING
from agent_pipeline.documents.log_proof import LogProof
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.documents.strict import MAX_BYTES
from agent_pipeline.errors import RejectedError, SchemaError, SignatureError
from agent_pipeline.repository import commits, remotes, trees
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.listing import FILE as MODE
from agent_pipeline.repository.listing import TREE, children
from agent_pipeline.repository.records import LOG
from agent_pipeline.repository.trees import Put

FILE: Final = "entry.dsse.json"
_FOLDERS: Final = (log_tree.FOLDER, log_entries.STATE_FOLDER)
MAX_TAIL: Final = 10_000
_MAX_FOLDER: Final = 4096  # bytes of a directory itself: it holds 17 names at most, of some letters each
_NAME, _EMAIL = "agent-pipeline", "log@agent-pipeline.invalid"
_RESTORE: Final = "restore refs/agent-pipeline/log from another clone, and find out who moved it"


@dataclass(frozen=True, slots=True)
class Void:
    """An entry after its key's end, at the end of the log: it keeps its place and says nothing."""

    commit: str
    envelope: bytes
    signed: Signed


@dataclass(frozen=True, slots=True)
class Log:
    """The log as of its newest entry that stands, `newest`, whose signature and role hold.

    `commit` holds it, `envelope` are its bytes; all three are None for a log in which nothing stands. `head` is the
    ref's commit: the same one, unless `tail` has void entries after it, oldest first.
    """

    clone: Clone
    head: str | None
    commit: str | None = None
    envelope: bytes | None = None
    newest: Signed | None = None
    tail: tuple[Void, ...] = ()

    @property
    def size(self) -> int:
        """How many entries there are up to the newest one that stands."""
        return 0 if self.newest is None else self.newest.entry.index + 1

    def file(self, path: str) -> bytes | None:
        """Return what is stored beside the newest entry, None for nothing. Not believed."""
        return None if self.commit is None else stored(self.clone, self.commit, path)

    def entry(self, index: int) -> bytes:
        """Return the envelope of entry `index` as it is stored. Raises `SignatureError` when there is none."""
        if self.envelope is not None and index == self.size - 1:
            return self.envelope
        data = self.file(log_tree.entry_path(index))
        if data is None:
            raise SignatureError(f"entry {index} of the log is missing from {_short(self.commit)}", hint=_RESTORE)
        return data

    @property
    def next_index(self) -> int:
        """The index that the next entry will have."""
        return self.size + len(self.tail)

    def envelopes(self) -> Iterator[bytes]:
        """Yield every envelope, oldest first, void ones too; what is stored is compared with what is signed.

        Raises `SignatureError`, at the latest after the last one, when they are not those that the newest entry commits
        to. Takes as long as the log is; decisions never need it.
        """
        tree = merkle.Growing()
        for index in range(self.size - 1):
            envelope = self.entry(index)
            tree.add(log_tree.leaf_of(envelope))
            yield envelope
        if self.newest is not None and self.envelope is not None:
            if tree.root.hex() != self.newest.entry.history:
                raise SignatureError("the log's stored entries are not those that its newest entry commits to")
            yield self.envelope
        yield from (void.envelope for void in self.tail)

    def newest_from(self, first: int, root: TrustRoot) -> Iterator[Signed]:
        """Yield the entries from index `first` on, void ones too, each with who signed it. Raises `SignatureError`.

        Each is proven to stand at its index by the newest entry's signature.
        """
        for index in range(first, self.size - 1):
            envelope = self.entry(index)
            self._check_stands(index, envelope)
            yield log_entries.read(envelope, root, index)
        if self.newest is not None and self.newest.entry.index >= first:
            yield self.newest
        yield from (void.signed for void in self.tail if void.signed.entry.index >= first)

    def _check_stands(self, index: int, envelope: bytes) -> None:
        if self.newest is not None:
            size, root = self.newest.entry.index, bytes.fromhex(self.newest.entry.history)
            proof = log_tree.inclusion(self.file, index, size)
            merkle.check_inclusion(log_tree.leaf_of(envelope), index, size, proof, root)

    def prove(self, request: str) -> LogProof:
        """Return everything that the log says about `request` and about everything, with the proof that it is all.

        Reads as much as there is to say, and of the rest a few small files. Raises `SignatureError`.
        """
        if self.newest is None:
            return LogProof.of(request, None, (), ())
        fetch = log_entries.fetch_from(self.file)
        root = bytes.fromhex(self.newest.entry.state)
        walks = [state_map.walk(fetch, root, key) for key in (request, EVERYTHING)]
        indexes = sorted(item.index for items, _ in walks for item in items)
        nodes = dict.fromkeys(node for _, found in walks for node in found)
        return LogProof.of(request, self.envelope, [self.entry(index) for index in indexes], list(nodes))

    def about_everything(self, root: TrustRoot) -> tuple[Signed, ...]:
        """Return the entries about no single request that stand, by index. Raises `SignatureError`."""
        if self.newest is None:
            return ()
        fetch = log_entries.fetch_from(self.file)
        items, _ = state_map.walk(fetch, bytes.fromhex(self.newest.entry.state), EVERYTHING)
        found = [self._named(item, root) for item in items]
        found += [self.newest] if self.newest.entry.about == EVERYTHING else []
        return log_entries.standing((*found, *(void.signed for void in self.tail)))

    def _named(self, item: state_map.Item, root: TrustRoot) -> Signed:
        data = self.entry(item.index)
        if strict.sha256(data) != item.digest:
            raise SignatureError(f"entry {item.index} of the log is not the one that its map names", hint=_RESTORE)
        return log_entries.read(data, root, item.index)

    def following(self) -> Roots:
        """Return what the next entry must say of all entries so far, the void ones at the end too.

        Those say nothing, but they have their places: what comes after them is computed, not taken from them. Raises
        `SignatureError` for a damaged log.
        """
        roots = log_entries.FIRST
        if self.newest is not None and self.envelope is not None:
            roots = log_entries.after(self.file, self.newest.entry, self.envelope)
        files = dict(roots.files)
        for void in self.tail:
            roots.check_place(void.signed.entry)
            honest = replace(void.signed.entry, history=roots.history, state=roots.state)
            roots = log_entries.after(self._over(files), honest, void.envelope)
            files |= roots.files
        return replace(roots, files=files)

    def _over(self, files: dict[str, bytes | None]) -> log_tree.Read:
        return lambda path: files[path] if path in files else self.file(path)


def read(clone: Clone, remote: str | None, root: TrustRoot, most: int = MAX_TAIL) -> Log:
    """Return the log as the remote has it (this clone's own without one), its newest entries' signatures checked.

    `most` is how many void ones may stand at its end. Raises `SignatureError` when one is no entry that somebody signed
    who may, `GitError` when objects are missing.
    """
    name = remotes.tracking(remote, LOG)
    head = clone.ref(name)
    if head is None:
        if clone.objects.references.get(name) is not None:
            raise SignatureError(f"{name} does not point to a commit: this is no log, and not an empty one either")
        return Log(clone, None)
    return at(clone, head, root, most)


def at(clone: Clone, head: str, root: TrustRoot, most: int = MAX_TAIL) -> Log:
    """Return the log as of one of its commits. Raises as `read` does."""
    tail: list[Void] = []
    commit: str | None = head
    while commit is not None:
        envelope = envelope_of(clone, commit)
        try:
            signed = log_entries.read(envelope, root)
        except RejectedError as error:
            raise SignatureError(
                f"the newest entry of the log ({_short(commit)}): {error.message}", hint=error.hint or _RESTORE
            ) from error
        if signed.ended is None:
            return Log(clone, head, commit, envelope, signed, tuple(reversed(tail)))
        tail.append(Void(commit, envelope, signed))
        if len(tail) > most:
            raise SignatureError(f"the log ends with more than {most} void entries", hint=_RESTORE)
        commit = before(clone, commit)
    return Log(clone, head, tail=tuple(reversed(tail)))


def before(clone: Clone, commit: str) -> str | None:
    """Return the log's commit before this one, None for the first. Raises `SignatureError` where it forks."""
    parents = clone.parents(commit)
    if len(parents) > 1:
        raise SignatureError(f"the log forks at {_short(commit)}: an entry has one predecessor", hint=_RESTORE)
    return parents[0] if parents else None


def envelope_of(clone: Clone, commit: str) -> bytes:
    """Return the envelope in a commit of the log. Raises `SignatureError` when it holds anything else than it may.

    So it does for a directory that is larger than the log's can be, before it is read: every command reads this one.
    """
    tree = clone.tree(commit)
    rows = children(clone, tree) if clone.size(tree) <= _MAX_FOLDER else ()
    held = {entry.path.decode("utf-8", "replace"): entry for entry in rows}
    odd = [name for name in held if name != FILE and (name not in _FOLDERS or held[name].mode != TREE)]
    if FILE not in held or held[FILE].mode != MODE or odd:
        raise SignatureError(
            f"the log's commit {_short(commit)} does not hold exactly one {FILE} and the log before it", hint=_RESTORE
        )
    if clone.size(held[FILE].oid) > MAX_BYTES:
        raise SignatureError(f"the log's commit {_short(commit)} holds an entry of more than {MAX_BYTES} bytes")
    return clone.blob(held[FILE].oid)


def stored(clone: Clone, commit: str, path: str) -> bytes | None:
    """Return a file of a log's commit, None for nothing.

    Raises `SignatureError` for one that is too large, or lies in a directory that is: whoever may push can put anything
    beside a genuine entry.
    """
    try:
        oid = clone.file_id(commit, path, folder=_MAX_FOLDER)
    except SchemaError as error:
        raise SignatureError(f"the log's commit {_short(commit)}: {error.message}", hint=_RESTORE) from error
    if oid is not None and clone.size(oid) > MAX_BYTES:
        raise SignatureError(f"the log's commit {_short(commit)} holds more than {MAX_BYTES} bytes in {path}")
    return None if oid is None else clone.blob(oid)


def append(log: Log, following: Roots, envelope: bytes) -> str:
    """Return a new commit that holds `envelope` after the newest entry of `log`. No ref moves.

    Raises `SchemaError` when the envelope holds no log entry, `SignatureError` when it does not follow.
    """
    entry = log_entries.read_unsigned(envelope)
    following.check(entry)
    clone = log.clone
    base = clone.tree(log.commit) if log.commit is not None else str(clone.objects.TreeBuilder().write())
    files = {path: None if data is None else Put(data, MODE) for path, data in following.files.items()}
    about = f" {entry.request}" if entry.request is not None else ""
    draft = commits.draft(
        clone,
        trees.build(clone, base, {**files, FILE: Put(envelope, MODE)}),
        [log.head] if log.head is not None else [],
        f"{entry.index} {entry.event}{about}\n",
        _NAME,
        _EMAIL,
        moments.parse(entry.created),
    )
    return commits.write(clone, draft, None)


def _short(commit: str | None) -> str:
    return (commit or "nothing")[:12]
