"""What one key signed, anywhere: in requests' records and in the log. What an operator looks through after a theft.

Only signatures that hold are listed: whoever may push can name any key in an envelope.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from agent_pipeline.attestation import dsse
from agent_pipeline.audit.log import Log
from agent_pipeline.documents import approval, closure, provenance, replay_result, request, strict, summary
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.root import Key
from agent_pipeline.documents.statement import PAYLOAD_TYPE, Statement
from agent_pipeline.errors import AgentPipelineError, RejectedError
from agent_pipeline.repository import dossier as dossiers
from agent_pipeline.repository import records
from agent_pipeline.repository.dossier import open_dossier
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.records import Record
from agent_pipeline.review.logged import about
from agent_pipeline.review.report import merged_as
from agent_pipeline.review.state import state_of

_KINDS: Final = {
    request.PREDICATE_TYPE: "request",
    provenance.PREDICATE_TYPE: "provenance",
    replay_result.PREDICATE_TYPE: "test result",
    summary.PREDICATE_TYPE: "summary",
    approval.PREDICATE_TYPE: "approval",
    closure.PREDICATE_TYPE: "closure",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """One signature: what it is under, and where the log first names it (None: nowhere)."""

    what: str
    logged: int | None


@dataclass(frozen=True, slots=True)
class Touched:
    """A request or proposal with signatures by the key, its state, and the command that takes it back."""

    name: str
    state: str
    marks: tuple[Mark, ...]
    command: str


@dataclass(frozen=True, slots=True)
class LoggedBy:
    """An entry of the log that the key signed."""

    index: int
    event: str
    request: str | None


def entries_by(log: Log, key: Key) -> tuple[LoggedBy, ...]:
    """Return the entries of the log that `key` signed, oldest first."""
    found = []
    for index, envelope in enumerate(log.envelopes()):
        said = _held(envelope, key)
        if said is not None:
            entry = LogEntry.from_statement(said)
            found.append(LoggedBy(index, entry.event, entry.request))
    return tuple(found)


def touched(desk: Desk, key: Key, log: Log) -> tuple[Touched, ...]:
    """Return every request that has a signature by `key`, each proposal of it on its own.

    What cannot be read is said and left out: nothing of it can land.
    """
    found: list[Touched] = []
    for record in records.all_records(desk.clone, desk.remote):
        entries = about(desk, log, record.id).entries
        try:
            found += _of(desk, record, key, entries)
        except AgentPipelineError as error:
            desk.tell(f"{record.id}: not looked through: {error.message}")
    return tuple(found)


def _of(desk: Desk, record: Record, key: Key, entries: tuple[LogEntry, ...]) -> Iterator[Touched]:
    named = {digest: entry.index for entry in reversed(entries) for digest in entry.envelopes}
    asked, _ = dossiers.read_request(record)
    whole = tuple(_marks((asked, *dossiers.closures(record)), key, named))
    state = state_of(record, entries, desk.landed.root)
    numbers = record.proposals()
    for number in numbers:
        marks = whole + tuple(_marks(record.attestations(number).values(), key, named))
        if marks:
            merged = state.word == "merged" and state.number == number
            word = "merged" if merged else state.word if number == numbers[-1] else "superseded"
            command = _revert(desk, record, number) if merged else _close(record, word)
            yield Touched(f"{record.id}.{number}", word, marks, command)
    if whole and not numbers:
        yield Touched(record.id, state.word, whole, _close(record, state.word))


def _marks(envelopes: Iterable[bytes], key: Key, named: dict[str, int]) -> Iterator[Mark]:
    for data in envelopes:
        said = _held(data, key)
        if said is not None:
            what = _KINDS.get(said.predicate_type, said.predicate_type)
            if what == "summary" and said.predicate.get("verifier", {}).get("id") == summary.MERGER_ID:
                what = "merge"
            yield Mark(what, named.get(strict.sha256(data)))


def _held(data: bytes, key: Key) -> Statement | None:
    """Return the statement in `data` when `key` signed it, else None."""
    try:
        envelope = Envelope.from_json(data)
        if envelope.keyid != key.keyid:
            return None
        dsse.check(envelope, key, PAYLOAD_TYPE)
        return Statement.from_json(envelope.payload)
    except RejectedError:
        return None


def _close(record: Record, state: str) -> str:
    return "" if state in ("closed", "rejected", "merged", "superseded") else f"agent-pipeline close {record.id}"


def _revert(desk: Desk, record: Record, number: int) -> str:
    """Return the command that takes the merge back, the words for it where the commit is not found."""
    commit = merged_as(desk, open_dossier(record, number))
    return f"git revert -m 1 {commit}" if commit is not None else "find its merge commit and revert it"
