"""Whether a record that the log names still holds what was decided on, and only grew.

The log names envelopes. What those speak of lies beside them, unsigned: the manifest, which is the subject of every
statement, and the transcript, whose digest the runner signed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agent_pipeline.documents import strict
from agent_pipeline.documents import summary as summaries
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.proposal import SUBJECT, Proposal
from agent_pipeline.documents.provenance import Provenance
from agent_pipeline.documents.statement import Statement
from agent_pipeline.documents.summary import VERIFIER_ID, Summary
from agent_pipeline.documents.verification import PASSED
from agent_pipeline.errors import SchemaError
from agent_pipeline.repository import growth
from agent_pipeline.repository.dossier import PROVENANCE
from agent_pipeline.repository.growth import Cut
from agent_pipeline.repository.records import Record


@dataclass(frozen=True, slots=True)
class _Expected:
    """The SHA-256 of what must lie beside a proposal's envelopes; None where nothing that was logged says it."""

    manifest: str | None
    transcript: str | None


@dataclass(frozen=True, slots=True)
class Bound:
    """What a proposal is from and to: a commit and a tree, as signed documents name them."""

    base: str
    tree: str


def cuts(record: Record) -> Iterator[Cut]:
    """Yield the steps of a record that take something away. Raises `SchemaError`, `GitError`."""
    return growth.cuts(record)


def exchanged(record: Record, entry: LogEntry) -> Iterator[str]:
    """Yield what `entry` was decided on and is gone or another by now. Raises `SchemaError` for an unreadable record.

    CI admits what has the signed manifest and transcript. What it rejected may have had others, for which it was
    rejected: there its own summary says which manifest it saw, and whether the transcript was the signed one.
    """
    wanted = _expected(record, entry)
    for name, digest in (("proposal.json", wanted.manifest), ("transcript.jsonl", wanted.transcript)):
        path = f"{entry.number}/{name}"
        if digest is None:
            continue
        data = record.read(path)
        if data is None:
            yield f"{path} is gone"
        elif strict.sha256(data) != digest:
            yield f"{path} is another one than was signed"


def bound(record: Record, entry: LogEntry) -> Bound | None:
    """Return base and tree of the proposal that `entry` is about, None where nothing that was signed says them.

    The manifest has them, which the statement that the entry names is about; where that is gone, CI's summary has.
    Raises `SchemaError` for an unreadable record.
    """
    ran, data = _provenance(record, entry), record.read(f"{entry.number}/{SUBJECT}")
    if ran is not None and data is not None and strict.sha256(data) == ran[0].sha256:
        proposal = Proposal.from_json(data)
        return Bound(proposal.base, proposal.tree)
    seen = _summary(record, entry)
    if seen is None or seen[1].statement != entry.statement:
        return None
    return Bound(seen[1].base, seen[1].tree)


def _expected(record: Record, entry: LogEntry) -> _Expected:
    if entry.number is None or entry.event not in ("admitted", "merged", "rejected"):
        return _Expected(None, None)
    ran, seen = _provenance(record, entry), _summary(record, entry)
    admitted = entry.event != "rejected"
    manifest = ran[0].sha256 if ran is not None and admitted else seen[0].sha256 if seen is not None else None
    passed = {check.name.partition(" ")[2] for check in seen[1].checks if check.outcome == PASSED} if seen else set()
    told = ran is not None and (admitted or "transcript" in passed)
    return _Expected(manifest, ran[1].transcript if ran is not None and told else None)


def _provenance(record: Record, entry: LogEntry) -> tuple[Statement, Provenance] | None:
    """Return the statement that `entry` is about; None when it is not there, or cannot be read, as what CI rejected."""
    for data in record.envelopes(f"{entry.number}/attestations/{PROVENANCE}.").values():
        try:
            payload = Envelope.from_json(data).payload
            if strict.sha256(payload) == entry.statement:
                statement = Statement.from_json(payload)
                return statement, Provenance.from_statement(statement)
        except SchemaError:
            continue
    return None


def _summary(record: Record, entry: LogEntry) -> tuple[Statement, Summary] | None:
    """Return what CI signed of what it found, as `entry` names it."""
    for data in record.attestations(entry.number or 0).values():
        if strict.sha256(data) not in entry.envelopes:
            continue
        try:
            statement = Statement.from_json(Envelope.from_json(data).payload)
            said = Summary.from_statement(statement) if statement.predicate_type == summaries.PREDICATE_TYPE else None
        except SchemaError:
            continue
        if said is not None and said.verifier == VERIFIER_ID:
            return statement, said
    return None
