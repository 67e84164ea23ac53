"""Where a request stands, read from its record and the log. Reading is not verifying: `show` says which proofs hold."""

from __future__ import annotations

from dataclasses import dataclass

from agent_pipeline.attestation.log_entries import standing_rejections
from agent_pipeline.documents import strict
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.request import Request
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.errors import SchemaError
from agent_pipeline.repository import dossier as dossiers
from agent_pipeline.repository.records import Record
from agent_pipeline.verify.standing import holding_closures


@dataclass(frozen=True, slots=True)
class State:
    """`word` is requested, failed, stopped, trial, proposed, staged, rejected, closed or merged; `detail` says why."""

    word: str
    number: int | None
    request: Request
    detail: str = ""


def state_of(record: Record, entries: tuple[LogEntry, ...], root: TrustRoot) -> State:
    """Return the state of the newest proposal of `record`. Raises `SchemaError` for an unreadable record.

    What the log says of a proposal it says of its statement: another one under the same number is a new one. A closure
    counts when it is signed by somebody who may close.
    """
    _, request = dossiers.read_request(record)
    number = dossiers.latest(record)
    about = [entry for entry in entries if entry.request == record.id]
    merged = next((entry for entry in about if entry.event == "merged"), None)
    if merged is not None:
        return State("merged", merged.number, request)
    if any(entry.event == "closed" for entry in about) or holding_closures(dossiers.closures(record), request, root):
        return State("closed", number, request)
    if number is None:
        return _without_proposal(record, request)
    statement = dossiers.statement_of(record, number)
    said = [entry for entry in about if entry.statement == statement and statement is not None]
    if standing_rejections(said):
        return State("rejected", number, request)
    if request.trial:
        return State("trial", number, request)
    return State("staged" if any(entry.event == "admitted" for entry in said) else "proposed", number, request)


def _without_proposal(record: Record, request: Request) -> State:
    ended = _ended(record)
    if ended is None:
        return State("requested", None, request)
    return State("stopped" if ended[0] == "interrupted" else "failed", None, request, ended[1])


def _ended(record: Record) -> tuple[str, str] | None:
    """Return how the newest run without a proposal ended, and why; None while it is still going."""
    for number in reversed(dossiers.runs(record)):
        data = record.read(dossiers.report_path(number, dossiers.RUN_REPORT))
        if data is not None:
            return _told(data)
    return None


def _told(data: bytes) -> tuple[str, str]:
    try:
        value = strict.parse(data, what="the run's report")
    except SchemaError:
        value = None
    told = value if isinstance(value, dict) else {}
    return str(told.get("outcome", "failed")), str(told.get("detail", "its report cannot be read"))
