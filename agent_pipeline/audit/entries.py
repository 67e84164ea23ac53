"""Appending to the shared log: one signed entry. Who publishes the whole step moves the ref."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from agent_pipeline import clock
from agent_pipeline.audit import cord, events, high_water
from agent_pipeline.audit import log as audit_log
from agent_pipeline.audit.endings import Ending
from agent_pipeline.documents import strict
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.documents.statement import Statement
from agent_pipeline.errors import StaleError
from agent_pipeline.repository import landed, records, remotes
from agent_pipeline.repository.dossier import Dossier
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.records import LOG
from agent_pipeline.repository.refs import RefUpdate

T = TypeVar("T")
_ATTEMPTS: Final = 5
HELD_BACK: Final = ("admitted", "merged", "reverted")  # what nobody does while everything is stopped


@dataclass(frozen=True, slots=True)
class Said:
    """What an entry is to say: `event`, about `request` (None: everything), by these `envelopes` (SHA-256)."""

    event: str
    request: str | None = None
    number: int | None = None
    statement: str | None = None
    envelopes: tuple[str, ...] = ()
    detail: str | None = None
    reviewer: str | None = None
    keys: tuple[str, ...] | None = None
    since: int | None = None


def about(dossier: Dossier, event: str, envelopes: tuple[bytes, ...], detail: str | None = None) -> Said:
    """Return what is said about a proposal, naming the envelopes that it was decided on."""
    digests = tuple(strict.sha256(data) for data in envelopes)
    return Said(event, dossier.record.id, dossier.number, dossier.statement, digests, detail)


def about_ending(ending: Ending) -> Said:
    """Return what is said of keys that ended, which the trust root says already and the log puts in order."""
    word = "taken for stolen" if ending.event == "revoked" else "ended in good order"
    detail = f"{word}: {', '.join(ending.names)}"
    return Said(ending.event, detail=detail, keys=ending.keys, since=ending.since)


def append(
    desk: Desk,
    log: audit_log.Log,
    said: Said,
    sign: Callable[[Statement], Envelope],
    now: datetime,
    *,
    root: TrustRoot | None = None,
) -> RefUpdate:
    """Sign the next entry of `log` and return the update of its ref, to be published with all that belongs to it.

    It goes by `root`, the trust root in force when None. Raises `SignatureError` when the log up to here does not hold,
    `PolicyError` while everything is stopped.
    """
    if said.event in HELD_BACK:
        cord.check(desk, log)
    high_water.check_growth(desk, log, root or desk.landed.root)
    following = log.following()
    entry = LogEntry(
        version=1,
        index=following.index,
        previous=following.previous,
        history=following.history,
        state=following.state,
        event=said.event,
        repository=desk.landed.root.repository,
        envelopes=said.envelopes,
        created=clock.rfc3339(now),
        root=(root or desk.landed.root).version,
        request=said.request,
        number=said.number,
        statement=said.statement,
        detail=said.detail,
        keys=said.keys,
        since=said.since,
        reviewer=said.reviewer,
    )
    head = audit_log.append(log, following, sign(entry.to_statement()).to_json())
    events.record(desk.config, "log", f"signed {entry.event}", entry.request, index=entry.index, commit=head)
    return RefUpdate(LOG, log.head, head)


def publish(desk: Desk, updates: Sequence[RefUpdate], logged: RefUpdate) -> None:
    """Publish a whole step with its entry in the log, and remember how far the log has come. Raises `StaleError`."""
    records.publish(desk.clone, [*updates, logged], remote=desk.remote)
    high_water.remember(desk, logged.new)


def again(desk: Desk, work: Callable[[], T], hopeless: Callable[[], bool] = lambda: False) -> T:
    """Return what `work` does, which appends: done again when somebody else was quicker, on the log as it is by then.

    Not where it is `hopeless`. Raises `StaleError` then, when others keep appending, and when other rules landed
    meanwhile: by those of this desk an entry of the next trust root would look as if the branch had been rewound.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return work()
        except StaleError:
            if desk.remote is not None:
                remotes.fetch(desk.clone, desk.remote)
            landed.check_in_force(desk)
            if hopeless():
                raise
    return work()
