"""What one key signed, anywhere: in requests' records and in the log. What an operator looks through after a theft.

Only signatures that hold are listed: whoever may push can name any key in an envelope. He can take envelopes and whole
records away, too: so all requests are gone through that there are records of, that this clone has seen or that the log
names, with the envelopes that `refs/attestations/trees` keeps of what was merged. What is nowhere any more is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from agent_pipeline.attestation import dsse
from agent_pipeline.attestation.log_entries import Signed, standing_rejections
from agent_pipeline.audit.log import Log
from agent_pipeline.documents import approval, closure, provenance, replay_result, request, strict, summary
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.root import Key, TrustRoot
from agent_pipeline.documents.statement import PAYLOAD_TYPE, Statement
from agent_pipeline.errors import AgentPipelineError, RejectedError
from agent_pipeline.repository.landed import Desk
from agent_pipeline.review.signed_sources import Found, Sources
from agent_pipeline.review.state import state_of

_KINDS: Final = {
    request.PREDICATE_TYPE: "request",
    provenance.PREDICATE_TYPE: "provenance",
    replay_result.PREDICATE_TYPE: "test result",
    summary.PREDICATE_TYPE: "summary",
    approval.PREDICATE_TYPE: "approval",
    closure.PREDICATE_TYPE: "closure",
}
_ENDED: Final = ("closed", "rejected", "merged", "superseded")


@dataclass(frozen=True, slots=True)
class Mark:
    """One signature: what it is under, and where the log first names it (None: nowhere)."""

    what: str
    logged: int | None


@dataclass(frozen=True, slots=True)
class Touched:
    """A request or proposal with signatures by the key, its state, and the command that takes it back.

    `becomes` is its state when the entries of the log by the key are void, None where that changes nothing.
    """

    name: str
    state: str
    marks: tuple[Mark, ...]
    command: str
    becomes: str | None = None


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found, and what could not be looked through: (what, why)."""

    touched: tuple[Touched, ...]
    unread: tuple[tuple[str, str], ...]


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
        said = held(envelope, key)
        if said is not None:
            entry = LogEntry.from_statement(said)
            found.append(LoggedBy(index, entry.event, entry.request))
    return tuple(found)


def touched(desk: Desk, key: Key, log: Log, since: int) -> Looked:
    """Return every request that has a signature by `key`, each proposal of it on its own.

    Also those whose state rests on an entry by `key` that is void from the index `since` on.
    """
    sources = Sources(desk, log, lambda data: held(data, key) is not None)
    rows: list[Touched] = []
    for one in sources.requests():
        found = sources.of(one)
        void = frozenset(signed.entry.index for signed in found.logged if _void(signed, key, since))
        rows += _of(found, key, desk.landed.root, void, sources)
    return Looked(tuple(rows), tuple(sources.unread))


def _void(signed: Signed, key: Key, since: int) -> bool:
    return signed.keyid == key.keyid and signed.entry.index >= since


def _of(found: Found, key: Key, root: TrustRoot, void: frozenset[int], sources: Sources) -> Iterator[Touched]:
    entries = tuple(signed.entry for signed in found.logged)
    named = {digest: entry.index for entry in reversed(entries) for digest in entry.envelopes}
    whole = tuple(_marks(found.whole, key, named))
    now, newest = _state(found, entries, root)
    after, _ = _state(found, tuple(entry for entry in entries if entry.index not in void), root)
    changes = after if now not in (after, "merged") else None
    for number in sorted(found.numbers):
        marks = whole + tuple(_marks(found.numbers[number], key, named))
        word = now if number == newest else "superseded"
        becomes = changes if number == newest else None
        if marks or becomes is not None:
            command = sources.revert(found) if word == "merged" else _close(found.request, becomes or word)
            yield Touched(f"{found.request}.{number}", word, marks, command, becomes)
    if (whole or changes) and not found.numbers:
        yield Touched(found.request, now, whole, _close(found.request, changes or now), changes)


def _state(found: Found, entries: tuple[LogEntry, ...], root: TrustRoot) -> tuple[str, int | None]:
    """Return the state and which proposal it is about; by the log alone where no record can be read."""
    newest = max(found.numbers, default=None)
    if found.record is not None:
        try:
            state = state_of(found.record, entries, root)
        except AgentPipelineError:
            pass  # what can be said of it says the log
        else:
            return state.word, state.number if state.number in found.numbers else newest
    about = [entry for entry in entries if entry.request == found.request]
    merged = next((entry for entry in about if entry.event == "merged"), None)
    if merged is not None:
        return "merged", merged.number
    events = [entry.event for entry in about]
    words = (
        ("closed", "closed" in events), ("rejected", bool(standing_rejections(about))), ("staged", "admitted" in events)
    )  # fmt: skip
    return next((word for word, holds in words if holds), "gone"), newest


def _marks(envelopes: Iterable[bytes], key: Key, named: dict[str, int]) -> Iterator[Mark]:
    for data in envelopes:
        said = held(data, key)
        if said is not None:
            what = _KINDS.get(said.predicate_type, said.predicate_type)
            if what == "summary" and said.predicate.get("verifier", {}).get("id") == summary.MERGER_ID:
                what = "merge"
            yield Mark(what, named.get(strict.sha256(data)))


def held(data: bytes, key: Key) -> Statement | None:
    """Return the statement in `data` when `key` signed it, else None."""
    try:
        envelope = Envelope.from_json(data)
        if envelope.keyid != key.keyid:
            return None
        dsse.check(envelope, key, PAYLOAD_TYPE)
        return Statement.from_json(envelope.payload)
    except RejectedError:
        return None


def _close(request_id: str, state: str) -> str:
    return "" if state in _ENDED else f"agent-pipeline close {request_id}"
