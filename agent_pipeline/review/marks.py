"""Putting on record what people took back: a reviewer's rejection, a closure.

Both come as signed files in a request's record, and whoever may push can take them out again. The log keeps them: from
then on nothing of it lands, whatever becomes of the record.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from agent_pipeline.attestation import statements
from agent_pipeline.audit import entries, high_water
from agent_pipeline.audit.endings import Ending
from agent_pipeline.documents import approval, strict
from agent_pipeline.documents.approval import REJECTED, Approval
from agent_pipeline.documents.envelope import plain
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.errors import RejectedError, SchemaError
from agent_pipeline.repository import dossier as dossiers
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.records import Record
from agent_pipeline.signing.hand import Hand
from agent_pipeline.verify.standing import holding_closures

_LARGEST: Final = 64 << 10  # bytes; a rejection or closure with the longest reason has a third of that


@dataclass(frozen=True, slots=True)
class Mark:
    """What the log is to say, about which request and proposal, by which envelope."""

    event: str
    request: str
    envelope: str
    detail: str
    number: int | None = None
    statement: str | None = None
    reviewer: str | None = None


def unlogged(record: Record, logged: tuple[LogEntry, ...], root: TrustRoot) -> tuple[Mark, ...]:
    """Return what was taken back in `record` and does not stand in the log. Raises `SchemaError`.

    Looked for in the newest step that can be read. Otherwise whoever may push could add what nobody can read, wait
    until a run of CI has seen no rejection, and take away both.
    """
    unreadable: SchemaError | None = None
    for tip in record.history():
        try:
            return _unlogged(replace(record, tip=tip), logged, root)
        except SchemaError as error:
            unreadable = unreadable or error
    raise unreadable or SchemaError(f"the record of {record.id} has no steps")


def _unlogged(record: Record, logged: tuple[LogEntry, ...], root: TrustRoot) -> tuple[Mark, ...]:
    known = {digest for entry in logged if entry.request == record.id for digest in entry.envelopes}
    _, request = dossiers.read_request(record)
    if request.id != record.id:
        raise SchemaError(f"the record of {record.id} holds the request {request.id}")
    closures = _each(record, f"{dossiers.CLOSURE}.")
    found = [
        Mark("closed", record.id, signed.envelope, f"closed by {signed.person.name}")
        for signed in holding_closures(closures, request, root)
    ]
    for number in record.proposals():
        found += _rejections(record, number, root)
    return tuple({mark.envelope: mark for mark in found if mark.envelope not in known}.values())


def _each(record: Record, prefix: str) -> Iterator[bytes]:
    """Yield the envelopes below `prefix`, each in its one form: copies under other names or spellings are no others."""
    for data in record.each_envelope(prefix, _LARGEST):
        with contextlib.suppress(SchemaError):
            yield plain(data)


def _rejections(record: Record, number: int, root: TrustRoot) -> list[Mark]:
    found = []
    for data in _each(record, f"{number}/attestations/"):
        try:
            signed = statements.read(data, root, approval.PREDICATE_TYPE, "reviewer")
            said = Approval.from_statement(signed.statement)
        except RejectedError:
            continue
        ours = (said.repository, said.request, said.reviewer) == (root.repository, record.id, signed.person.name)
        if said.decision == REJECTED and ours and not signed.person.bot:
            detail = f"by {said.reviewer}: {said.reason or 'no reason given'}"[:1000]
            found.append(Mark("rejected", record.id, strict.sha256(data), detail, number, said.proposal, said.reviewer))
    return found


def note_ending(desk: Desk, hand: Hand, ending: Ending, now: datetime) -> None:
    """Append what the trust root says of the end of some keys. Raises `StaleError` as `note` does."""
    log = high_water.open_log(desk)
    entries.publish(desk, [], entries.append(desk, log, entries.about_ending(ending), hand.signer.statement, now))


def note(desk: Desk, hand: Hand, mark: Mark, now: datetime) -> None:
    """Append `mark` to the log and publish it. Raises `StaleError` when somebody else appended meanwhile."""
    log = high_water.open_log(desk)
    said = entries.Said(
        mark.event, mark.request, mark.number, mark.statement, (mark.envelope,), mark.detail, mark.reviewer
    )
    entries.publish(desk, [], entries.append(desk, log, said, hand.signer.statement, now))
