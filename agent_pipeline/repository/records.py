"""Records: one request, one ref, commits that only ever add files. And the carrier, which brings a tree along.

`refs/agent-pipeline/requests/<id>` points to a commit whose tree holds `request.dsse.json`, `<n>/proposal.json`,
`<n>/transcript.jsonl`, `<n>/attestations/*.dsse.json` and `<n>/reports/*`. Its parents are the record's previous commit
and, where a proposal came in, that proposal's carrier. Anyone with push access can write these refs: nothing read here
counts before it is verified, and everything is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from agent_pipeline.documents import strict
from agent_pipeline.errors import GitError, PathError, SchemaError, StaleError, UsageError
from agent_pipeline.repository import commits, refs, remotes
from agent_pipeline.repository.build import Put, build
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.listing import FILE, MODES, TREE, Count, entries, read_tree
from agent_pipeline.repository.refs import RefUpdate
from agent_pipeline.repository.remotes import tracking

REQUESTS: Final = "refs/agent-pipeline/requests/"
LOG: Final = "refs/agent-pipeline/log"
OFFERS: Final = "refs/agent-pipeline/offers/"
MAX_FILES: Final = 10_000
MAX_DEPTH: Final = 3  # `<n>/attestations/<file>`
MAX_FOLDER: Final = strict.MAX_BYTES  # bytes of one directory itself: its names, at some 70 bytes each
MAX_ENVELOPES: Final = 500  # beside one proposal
MAX_STEPS: Final = 10_000
MAX_STEP: Final = 4 << 10  # bytes of a step's own commit, or a carrier's: those that are made have some hundreds
MAX_LOOKED: Final = 64 << 20  # bytes of the directories of all steps, each once
MAX_LISTED: Final = 1_000_000  # entries of the directories of all steps, where each step is listed

_KEPT: Final = 4  # listings
_ROW: Final = 300  # bytes of a directory's row: a mode, a name of 255 bytes, an object
_ID: Final = re.compile(r"[a-z2-7]{16}")
_NAME: Final = re.compile(r"([a-z2-7]{1,16})(?:\.([1-9][0-9]{0,5}))?")
# Records and carriers are computable by anyone: who, when and why are in the signed documents.
_WHO: Final = ("agent-pipeline", "agent-pipeline@localhost")
_WHEN: Final = datetime(2000, 1, 1, tzinfo=UTC)
_CARRIER_MESSAGE: Final = "Carrier of a proposed tree\n\nUnsigned and never merged: it only brings the tree along.\n"
_RECORD_MESSAGE: Final = "Record\n"


@dataclass(frozen=True, slots=True)
class Record:
    """One request's record as of the commit `tip`. Its files are a stranger's until they are verified."""

    id: str
    tip: str
    clone: Clone

    def read(self, path: str) -> bytes | None:
        """Return a file of the record, or None. Raises `SchemaError` for one that is too large."""
        return self.clone.file(self.tip, path, folder=MAX_FOLDER)

    def size(self, path: str) -> int | None:
        """Return the size of a file of the record without reading it, or None. Raises `SchemaError` as `read` does."""
        return self.clone.file_size(self.tip, path, folder=MAX_FOLDER)

    def files(self) -> tuple[str, ...]:
        """Return the paths of all files, sorted. Raises `SchemaError` when there are too many, or odd ones."""
        return tuple(self.listed())

    def listed(self, most: int = MAX_FILES, count: Count | None = None) -> Mapping[str, str]:
        """Return the objects of all files by path, sorted. Raises `SchemaError` for more than `most`, or odd ones.

        What is to read many files takes them from here: each look for a path reads the directories on its way again.
        The last trees are remembered: commands ask several times, and whoever may push can call one tree many records.
        """
        kept, key = self.clone.listings, (self.clone.tree(self.tip), most)
        found = kept[key] if key in kept else _listed(self.clone, *key, count)
        kept[key] = found
        kept.move_to_end(key)
        while len(kept) > _KEPT:
            kept.popitem(last=False)
        if isinstance(found, str):
            raise SchemaError(f"the record of {self.id} {found}")
        return found

    def proposals(self) -> tuple[int, ...]:
        """Return the numbers of the proposals that the record holds, in order."""
        return proposals_in(self.files())

    def attestations(self, number: int) -> dict[str, bytes]:
        """Return the envelopes of proposal `number` by file name. Raises `SchemaError` when there are too many."""
        return self.envelopes(f"{number}/attestations/")

    def envelopes(self, prefix: str) -> dict[str, bytes]:
        """Return the envelopes whose paths begin with `prefix`, by the rest of the path.

        What is too large to be an envelope is left out, as if it were not there. Raises `SchemaError` for too many.
        """
        paths = {path: oid for path, oid in self.listed().items() if _is_envelope(path, prefix)}
        if len(paths) > MAX_ENVELOPES:
            raise SchemaError(f"the record of {self.id} has more than {MAX_ENVELOPES} envelopes below {prefix}")
        small = {path: oid for path, oid in paths.items() if self.clone.size(oid) <= strict.MAX_BYTES}
        contents = {oid: self.clone.blob(oid) for oid in dict.fromkeys(small.values())}  # many names of one: read once
        return {path.removeprefix(prefix): contents[oid] for path, oid in small.items()}

    def each_envelope(self, prefix: str, most: int, listed: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """Yield every envelope of at most `most` bytes below `prefix`, one at a time, however many there are.

        One that is there under many names is yielded once. `listed` are the record's files, where they are known.
        """
        files = self.listed() if listed is None else listed
        for oid in dict.fromkeys(oid for path, oid in files.items() if _is_envelope(path, prefix)):
            if self.clone.size(oid) <= most:
                yield self.clone.blob(oid)

    def history(self) -> tuple[str, ...]:
        """Return the record's commits, newest first: the tip and its first parents. Raises as `steps` does."""
        return tuple(self.steps())

    def steps(self) -> Iterator[str]:
        """Yield the record's commits as `history` gives them.

        Raises `SchemaError` in place of one too many, and of one that is no step by its size.
        """
        here = self.tip
        for _ in range(MAX_STEPS):
            if self.clone.size(here) > MAX_STEP:
                raise SchemaError(f"step {here[:12]} of the record of {self.id} has more than {MAX_STEP} bytes")
            yield here
            parents = self.clone.parents(here)
            if not parents or self.clone.message(parents[0]) != _RECORD_MESSAGE:
                return
            here = parents[0]
        raise SchemaError(f"the record of {self.id} has more than {MAX_STEPS} steps")

    def carrier(self, number: int) -> str | None:
        """Return the commit that brought the tree of proposal `number` along, or None. Raises `SchemaError`."""
        look = _Look(self, MAX_LOOKED)
        for commit in reversed(self.history()):
            if look.holds(commit, number):
                return next((one for one in self.clone.parents(commit) if is_carrier(self.clone, one)), None)
        return None


def _listed(clone: Clone, tree: str, most: int, count: Count | None) -> Mapping[str, str] | str:
    """Return the objects of all files of a record's tree by path, sorted, or what it is instead."""
    found: dict[str, str] = {}
    try:
        largest = min(MAX_FOLDER, most * _ROW)
        for entry in entries(clone, tree, most=most, deepest=MAX_DEPTH, largest=largest, count=count):
            if entry.mode not in MODES or not entry.path.isascii():
                return "holds something else than documents"
            found[entry.path.decode("ascii")] = entry.oid
    except GitError as error:
        return f"is no record: {error.message}"
    return MappingProxyType(dict(sorted(found.items())))


@dataclass(slots=True)
class _Look:
    """Looks through a record's steps for proposals: no directory twice, and all within a bound."""

    record: Record
    room: int
    looked: set[str] = field(default_factory=set)

    def holds(self, commit: str, number: int) -> bool:
        """Return whether a step is the first one that was asked about with that proposal. Raises `SchemaError`."""
        folder = self._row(self.record.clone.tree(commit), str(number), (TREE,))
        return folder is not None and self._row(folder, "proposal.json", MODES) is not None

    def _row(self, tree: str, name: str, modes: Sequence[str]) -> str | None:
        size = self.record.clone.size(tree)
        if tree in self.looked or size > MAX_FOLDER:
            return None  # nobody reads a larger one: there is no proposal in it
        self.looked.add(tree)
        self.room -= size
        if self.room < 0:
            raise SchemaError(f"the steps of {self.record.id} have more than {MAX_LOOKED} bytes of directories")
        listed = read_tree(self.record.clone, tree)
        return str(listed[name].id) if name in listed and f"{listed[name].filemode:o}" in modes else None


def proposals_in(files: Iterable[str]) -> tuple[int, ...]:
    """Return the numbers of the proposals that are among these files of a record, in order."""
    found = (re.fullmatch(r"([1-9][0-9]{0,5})/proposal\.json", path) for path in files)
    return tuple(sorted(int(match[1]) for match in found if match is not None))


def _is_envelope(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and path.endswith(".dsse.json")


def split_id(name: str) -> tuple[str, int | None]:
    """Return id (or its prefix) and number of `ID` or `ID.n`. Raises `UsageError` for anything else."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise UsageError(
            f"{name!r} is no request's id", hint="`agent-pipeline list` shows the ids; a unique prefix will do"
        )
    return match[1], int(match[2]) if match[2] else None


def is_id(name: str) -> bool:
    """Return whether `name` can be a request's id."""
    return _ID.fullmatch(name) is not None


def all_records(clone: Clone, remote: str | None) -> tuple[Record, ...]:
    """Return all records, by id: the remote's, and those that were never pushed. Names that are no ids are left out."""
    found: dict[str, str] = {}
    for prefix in dict.fromkeys((REQUESTS, tracking(remote, REQUESTS))):  # the remote's copy wins
        found |= {name.removeprefix(prefix): tip for name, tip in clone.refs(prefix).items()}
    return tuple(Record(one, tip, clone) for one, tip in sorted(found.items()) if is_id(one))


def find(clone: Clone, prefix: str, remote: str | None) -> Record:
    """Return the one record whose id begins with `prefix`. Raises `UsageError` when there is none, or several."""
    prefix, _ = split_id(prefix)
    found = [record for record in all_records(clone, remote) if record.id.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"there is no request {prefix}", hint="`agent-pipeline list` shows all; fetch if it was made elsewhere"
        )
    raise UsageError(
        f"{prefix} begins {len(found)} ids: {', '.join(r.id for r in found[:5])}", hint="give more letters"
    )


def extend(
    clone: Clone,
    record: Record | None,
    id: str,  # noqa: A002 - the field's name everywhere
    files: Mapping[str, bytes],
    carrier: str | None = None,
) -> str:
    """Make the record's next commit, which holds `files` beside everything it held, and return it. No ref moves.

    Raises `StaleError` when one of the files is there already with other content.
    """
    base = clone.tree(record.tip) if record is not None else str(clone.objects.TreeBuilder().write())
    for path, data in files.items():
        if record is not None and (before := record.read(path)) is not None and before != data:
            raise StaleError(
                f"the record of {id} already holds another {path}: records only grow",
                hint="somebody else took this step meanwhile; look at `agent-pipeline show` and run the command again",
            )
    try:
        tree = build(clone, base, {path: Put(data, FILE) for path, data in files.items()})
    except PathError as error:
        raise SchemaError(f"the record of {id} cannot take this file: {error.message}") from error
    parents = [*([record.tip] if record is not None else []), *([carrier] if carrier is not None else [])]
    return commits.write(clone, commits.draft(clone, tree, parents, _RECORD_MESSAGE, *_WHO, _WHEN), None)


def carrier(clone: Clone, base: str, tree: str) -> str:
    """Return the carrier of `tree`: an unsigned commit on `base` whose every byte follows from the two."""
    return commits.write(clone, commits.draft(clone, tree, [base], _CARRIER_MESSAGE, *_WHO, _WHEN), None)


def is_carrier(clone: Clone, commit: str) -> bool:
    """Return whether a commit says that it is a carrier. Whether it is one, making it again shows."""
    return clone.size(commit) <= MAX_STEP and clone.message(commit) == _CARRIER_MESSAGE


def bases(record: Record) -> frozenset[str]:
    """Return the commits that the record's carriers were put on."""
    parents = (parent for commit in record.history() for parent in record.clone.parents(commit))
    carriers = {parent for parent in parents if is_carrier(record.clone, parent)}
    return frozenset(base for one in carriers for base in record.clone.parents(one))


def check_plain(record: Record) -> None:
    """Raise `SchemaError` unless every step of the record is the very commit that `extend` makes.

    That is: it adds files and takes none away, follows the step before, and brings at most one carrier along. Whoever
    may push can write records by hand, and they are read all the same; none but plain ones are taken in from elsewhere.
    """
    held: Mapping[str, str] = {}
    before: str | None = None
    count = Count()
    for commit in reversed(record.history()):
        here = replace(record, tip=commit).listed(count=count)
        if count.entries > MAX_LISTED:
            raise SchemaError(f"the steps of {record.id} have more than {MAX_LISTED} entries of directories")
        carriers = [one for one in record.clone.parents(commit) if one != before]
        good = len(carriers) <= 1 and all(_again(record.clone, one) for one in carriers)
        parents = [*([before] if before is not None else []), *carriers]
        same = commits.draft(record.clone, record.clone.tree(commit), parents, _RECORD_MESSAGE, *_WHO, _WHEN)
        if not good or held.items() - here.items() or same != record.clone.raw(commit):
            raise SchemaError(
                f"step {commit[:12]} of the record of {record.id} is none that this program writes",
                hint="somebody wrote it by hand; refuse it",
            )
        held, before = here, commit


def _again(clone: Clone, commit: str) -> bool:
    parents = clone.parents(commit) if is_carrier(clone, commit) else ()
    return len(parents) == 1 and carrier(clone, parents[0], clone.tree(commit)) == commit


def publish(clone: Clone, updates: Sequence[RefUpdate], *, remote: str | None) -> None:
    """Move all refs or none: on the remote in one atomic push, after which this clone follows, or here without one.

    Raises `StaleError` naming the ref that moved meanwhile, `RejectedError` when the remote refuses, `GitError` when
    it cannot be reached.
    """
    if remote is None:
        refs.update(clone, updates)
        return
    sent = [_first_push(clone, remote, one) for one in updates]
    remotes.push(clone, remote, sent)
    remotes.follow(clone, remote, sent)


def _first_push(clone: Clone, remote: str, one: RefUpdate) -> RefUpdate:
    """A record that so far only this clone has (`--no-push`) is new to the remote, whatever it was here."""
    unknown = one.ref.startswith(REQUESTS) and clone.ref(tracking(remote, one.ref)) is None
    return replace(one, old=None) if unknown and one.new is not None else one
