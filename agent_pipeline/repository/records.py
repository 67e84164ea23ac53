"""Records: one request, one ref, commits that only ever add files. And the carrier, which brings a tree along.

`refs/agent-pipeline/requests/<id>` points to a commit whose tree holds `request.dsse.json`, `<n>/proposal.json`,
`<n>/transcript.jsonl`, `<n>/attestations/*.dsse.json` and `<n>/reports/*`. Its parents are the record's previous commit
and, where a proposal came in, that proposal's carrier. Anyone with push access can write these refs: nothing read here
counts before it is verified, and everything is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from agent_pipeline.documents import strict
from agent_pipeline.errors import GitError, PathError, SchemaError, StaleError, UsageError
from agent_pipeline.repository import commits, refs, remotes
from agent_pipeline.repository.build import Put, build
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.listing import FILE, MODES, entries
from agent_pipeline.repository.refs import RefUpdate
from agent_pipeline.repository.remotes import tracking

REQUESTS: Final = "refs/agent-pipeline/requests/"
LOG: Final = "refs/agent-pipeline/log"
OFFERS: Final = "refs/agent-pipeline/offers/"
MAX_FILES: Final = 10_000
MAX_DEPTH: Final = 3  # `<n>/attestations/<file>`
MAX_ENVELOPES: Final = 500  # beside one proposal
MAX_STEPS: Final = 10_000

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
        return self.clone.file(self.tip, path)

    def files(self) -> tuple[str, ...]:
        """Return the paths of all files, sorted. Raises `SchemaError` when there are too many, or odd ones."""
        found: list[str] = []
        try:
            for entry in entries(self.clone, self.clone.tree(self.tip), most=MAX_FILES, deepest=MAX_DEPTH):
                if entry.mode not in MODES or not entry.path.isascii():
                    raise SchemaError(f"the record of {self.id} holds something else than documents")
                found.append(entry.path.decode("ascii"))
        except GitError as error:
            raise SchemaError(f"the record of {self.id} is no record: {error.message}") from error
        return tuple(sorted(found))

    def proposals(self) -> tuple[int, ...]:
        """Return the numbers of the proposals that the record holds, in order."""
        found = (re.fullmatch(r"([1-9][0-9]{0,5})/proposal\.json", path) for path in self.files())
        return tuple(sorted(int(match[1]) for match in found if match is not None))

    def attestations(self, number: int) -> dict[str, bytes]:
        """Return the envelopes of proposal `number` by file name. Raises `SchemaError` when there are too many."""
        return self.envelopes(f"{number}/attestations/")

    def envelopes(self, prefix: str) -> dict[str, bytes]:
        """Return the envelopes whose paths begin with `prefix`, by the rest of the path.

        What is too large to be an envelope is left out, as if it were not there. Raises `SchemaError` for too many.
        """
        paths = [path for path in self.files() if path.startswith(prefix) and path.endswith(".dsse.json")]
        if len(paths) > MAX_ENVELOPES:
            raise SchemaError(f"the record of {self.id} has more than {MAX_ENVELOPES} envelopes below {prefix}")
        found = {path.removeprefix(prefix): self._envelope(path) for path in paths}
        return {name: data for name, data in found.items() if data is not None}

    def each_envelope(self, prefix: str, most: int) -> Iterator[bytes]:
        """Yield every envelope of at most `most` bytes below `prefix`, one at a time, however many there are."""
        for path in self.files():
            if path.startswith(prefix) and path.endswith(".dsse.json"):
                size = self.clone.file_size(self.tip, path)
                data = self.read(path) if size is not None and size <= most else None
                if data is not None:
                    yield data

    def _envelope(self, path: str) -> bytes | None:
        size = self.clone.file_size(self.tip, path)
        return self.read(path) if size is not None and size <= strict.MAX_BYTES else None

    def history(self) -> tuple[str, ...]:
        """Return the record's commits, newest first: the tip and its first parents."""
        found: list[str] = []
        here = self.tip
        while True:
            found.append(here)
            parents = self.clone.parents(here)
            if not parents or self.clone.message(parents[0]) != _RECORD_MESSAGE:
                return tuple(found)
            if len(found) >= MAX_STEPS:
                raise SchemaError(f"the record of {self.id} has more than {MAX_STEPS} steps")
            here = parents[0]

    def carrier(self, number: int) -> str | None:
        """Return the commit that brought the tree of proposal `number` along, or None."""
        path = f"{number}/proposal.json"
        for commit in reversed(self.history()):
            if self.clone.file(commit, path) is not None:
                found = [one for one in self.clone.parents(commit) if is_carrier(self.clone, one)]
                return found[0] if found else None
        return None


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
    return clone.message(commit) == _CARRIER_MESSAGE


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
    held: dict[bytes, str] = {}
    before: str | None = None
    for commit in reversed(record.history()):
        here = {entry.path: entry.oid for entry in entries(record.clone, record.clone.tree(commit), most=MAX_FILES)}
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
