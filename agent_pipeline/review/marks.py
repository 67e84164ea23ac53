"""Putting on record what people took back: a reviewer's rejection, an approval that ends one, a closure.

They come as signed files in a request's record, and whoever may push can take them out again. The log keeps them: from
then on nothing of it lands, whatever becomes of the record.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from agent_pipeline import clock
from agent_pipeline.attestation import statements
from agent_pipeline.audit import entries, high_water
from agent_pipeline.audit.endings import Ending
from agent_pipeline.documents import approval, strict
from agent_pipeline.documents.approval import APPROVED, REJECTED, Approval
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.request import Request
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.documents.strict import MAX_BYTES
from agent_pipeline.errors import RejectedError, SchemaError
from agent_pipeline.repository import dossier as dossiers
from agent_pipeline.repository.dossier import Dossier
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.listing import Count
from agent_pipeline.repository.records import MAX_FILES, Record, proposals_in
from agent_pipeline.signing.hand import Hand
from agent_pipeline.verify.standing import holding_closures

_LARGEST: Final = 64 << 10  # bytes; a decision or closure with the longest reason has half of that
_MOST: Final = 100_000  # files and directories, in all steps of one record that are looked through
_ALWAYS: Final = 128  # in one step, however many there were before: an honest one has some dozens
_WEIGHT: Final = 64  # bytes of a request that take as long as one of them


@dataclass(frozen=True, slots=True)
class Mark:
    """What the log is to say, about which request and proposal, by which envelope.

    `takes_back` are the envelopes of rejections that an approval ends.
    """

    event: str
    request: str
    envelope: str
    detail: str
    number: int | None = None
    statement: str | None = None
    reviewer: str | None = None
    takes_back: tuple[str, ...] = ()


def unlogged(record: Record, logged: tuple[LogEntry, ...], root: TrustRoot) -> tuple[Mark, ...]:
    """Return what was taken back in `record` and does not stand in the log. Raises `SchemaError`.

    Looked for in the newest step that can be read. Otherwise whoever may push could add what nobody can read, wait
    until a run of CI has seen no rejection, and take away both. How long that takes is bounded, however many steps
    there are: once much was looked through in vain, steps that are large are passed over, and those of the size that
    honest ones have are looked at to the last.
    """
    unreadable: SchemaError | None = None
    search = _Search(record)
    try:
        for tip in record.steps():
            if search.knows(tip):
                continue
            try:
                step, files, request = search.read(tip)
            except SchemaError as error:
                unreadable = unreadable or error
                continue
            found = _unlogged(step, files, request, logged, root)
            if found or not search.passed_over:
                return found
            break  # in what was passed over there may be something: nobody can say that there is nothing
    except SchemaError as error:  # there is no next step
        unreadable = unreadable or error
    raise unreadable or SchemaError(f"the record of {record.id} has no steps")


@dataclass(slots=True)
class _Search:
    """Looks for a step of `record` that can be read: at no tree and no request twice, and within bounds.

    `passed_over` says that a step could not be read for which there was less room than for any other.
    """

    record: Record
    passed_over: bool = False
    count: Count = field(default_factory=Count)
    in_vain: set[str] = field(default_factory=set)

    def knows(self, tip: str) -> bool:
        """Return whether the step `tip` holds what could not be read in another one."""
        return self.record.clone.tree(tip) in self.in_vain

    def read(self, tip: str) -> tuple[Record, Mapping[str, str], Request]:
        """Return a step, the objects of its files by path, and its request. Raises `SchemaError`."""
        step, scarce = replace(self.record, tip=tip), self._room < _MOST // 2  # in half of it any step has room
        try:
            return step, *self._read(step)
        except SchemaError:
            self.in_vain.add(step.clone.tree(tip))
            self.passed_over = self.passed_over or scarce
            raise

    def _read(self, step: Record) -> tuple[Mapping[str, str], Request]:
        files = step.listed(min(MAX_FILES, self._room), self.count)
        asked = files.get(dossiers.REQUEST_FILE, "")
        cost = step.clone.size(asked) // _WEIGHT if asked else 0
        if asked in self.in_vain or cost > self._room:
            raise SchemaError(f"the steps of {step.id} hold more that cannot be read than is looked through")
        self.in_vain.add(asked)  # unless it is the one: then no other step is looked at
        self.count.entries += min(cost, MAX_BYTES // _WEIGHT)
        _, request = dossiers.read_request(step)
        if request.id != step.id:
            raise SchemaError(f"the record of {step.id} holds the request {request.id}")
        return files, request

    @property
    def _room(self) -> int:
        return max(_ALWAYS, _MOST - self.count.entries)


def _unlogged(
    record: Record, files: Mapping[str, str], request: Request, logged: tuple[LogEntry, ...], root: TrustRoot
) -> tuple[Mark, ...]:
    known = {digest for entry in logged if entry.request == record.id for digest in entry.envelopes}
    closures = _each(record, f"{dossiers.CLOSURE}.", files, root)
    found = [
        Mark("closed", record.id, signed.envelope, f"closed by {signed.person.name}")
        for signed in holding_closures(closures, request, root)
    ]
    for number in proposals_in(files):
        decided = _decisions(record, number, files, root)
        rejected = [mark for mark in decided if mark.event == REJECTED]
        found += rejected  # first: what takes them back has to come after them
        found += [
            replace(mark, takes_back=ends)
            for mark in decided
            if mark.event == APPROVED and (ends := _ended_by(mark, rejected, logged))
        ]
    return tuple({mark.envelope: mark for mark in found if mark.envelope not in known}.values())


def _each(record: Record, prefix: str, files: Mapping[str, str], root: TrustRoot) -> Iterator[bytes]:
    """Yield the envelopes below `prefix`, each in its one form: copies under other names or spellings are no others.

    Nor is the twin of a signature on P-256: under its own digest it would stand after what it is the twin of was ended.
    """
    yielded: set[str] = set()
    for data in record.each_envelope(prefix, _LARGEST, files):
        with contextlib.suppress(SchemaError):
            plain = statements.plain(data, root)
            if (digest := strict.sha256(plain)) not in yielded:
                yielded.add(digest)
                yield plain


def _decisions(record: Record, number: int, files: Mapping[str, str], root: TrustRoot) -> list[Mark]:
    """Return the reviewers' rejections, and their approvals that take something back."""
    found = []
    for data in _each(record, f"{number}/attestations/", files, root):
        try:
            signed = statements.read(data, root, approval.PREDICATE_TYPE, "reviewer")
            said = Approval.from_statement(signed.statement)
        except RejectedError:
            continue
        ours = (said.repository, said.request, said.reviewer) == (root.repository, record.id, signed.person.name)
        if ours and not signed.person.bot and (said.decision == REJECTED or said.takes_back):
            reason = said.reason or ("no reason given" if said.decision == REJECTED else "who rejected it before")
            mark = Mark(said.decision, record.id, strict.sha256(data), f"by {said.reviewer}: {reason}"[:1000])
            found.append(
                replace(
                    mark,
                    number=number,
                    statement=said.proposal,
                    reviewer=said.reviewer,
                    takes_back=said.takes_back or (),
                )
            )
    return found


def _ended_by(mark: Mark, rejected: list[Mark], logged: tuple[LogEntry, ...]) -> tuple[str, ...]:
    """Return which of the rejections that an approval names are the same reviewer's, of the same proposal.

    Whatever else it names it does not end, and the log does not repeat.
    """
    own = _of(mark.reviewer, mark.statement, rejected, logged)
    return tuple(digest for digest in mark.takes_back if digest in own)


def _of(
    reviewer: str | None, statement: str | None, rejected: list[Mark], logged: tuple[LogEntry, ...]
) -> frozenset[str]:
    """Return the envelopes of one reviewer's rejections of one proposal, by the record and by the log."""
    whose = (reviewer, statement)
    here = {mark.envelope for mark in rejected if (mark.reviewer, mark.statement) == whose}
    entries = [entry for entry in logged if entry.event == REJECTED and (entry.reviewer, entry.statement) == whose]
    return frozenset(here.union(*(entry.envelopes for entry in entries)))


def rejections_by(name: str, dossier: Dossier, logged: tuple[LogEntry, ...], root: TrustRoot) -> tuple[str, ...]:
    """Return the envelopes of every rejection of this proposal by `name`, by the record and by the log, sorted."""
    files = dossier.record.listed()
    rejected = [mark for mark in _decisions(dossier.record, dossier.number, files, root) if mark.event == REJECTED]
    return tuple(sorted(_of(name, dossier.statement, rejected, logged)))


def note_ending(desk: Desk, hand: Hand, ending: Ending, now: datetime) -> None:
    """Append what the trust root says of the end of some keys. Raises `StaleError` as `note` does."""
    log = high_water.open_log(desk)
    entries.publish(desk, [], entries.append(desk, log, entries.about_ending(ending), hand.signer.statement, now))


def note_all(desk: Desk, hand: Hand, marks: tuple[Mark, ...]) -> None:
    """Append these marks to the log, one after the other, and say so. Raises `StaleError` as `note` does."""
    for mark in marks:
        note(desk, hand, mark, clock.now())
        desk.tell(f"log: {mark.request} was {mark.event}: {mark.detail}")


def note(desk: Desk, hand: Hand, mark: Mark, now: datetime) -> None:
    """Append `mark` to the log and publish it. Raises `StaleError` when somebody else appended meanwhile."""
    log = high_water.open_log(desk)
    envelopes = (mark.envelope, *mark.takes_back)
    said = entries.Said(mark.event, mark.request, mark.number, mark.statement, envelopes, mark.detail, mark.reviewer)
    entries.publish(desk, [], entries.append(desk, log, said, hand.signer.statement, now))
