"""Appending to the shared log: one signed entry about one proposal. Who publishes the whole step moves the ref."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from agent_pipeline import clock
from agent_pipeline.audit import events, high_water
from agent_pipeline.audit import log as audit_log
from agent_pipeline.audit.endings import Ending
from agent_pipeline.documents import strict
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.log_entry import FIRST_PREVIOUS, LogEntry
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.documents.statement import Statement
from agent_pipeline.repository import records
from agent_pipeline.repository.dossier import Dossier
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.records import LOG
from agent_pipeline.repository.refs import RefUpdate


def entry_about(  # noqa: PLR0913, PLR0917 - what an entry says
    desk: Desk,
    log: audit_log.Log,
    dossier: Dossier,
    event: str,
    envelopes: tuple[bytes, ...],
    now: datetime,
    detail: str | None = None,
) -> LogEntry:
    """Return the next entry of `log`, about `dossier`, naming the envelopes it was decided on."""
    return LogEntry(
        version=1,
        index=len(log.entries),
        previous=strict.sha256(log.entries[-1].envelope) if log.entries else FIRST_PREVIOUS,
        event=event,
        repository=desk.landed.root.repository,
        request=dossier.record.id,
        number=dossier.number,
        statement=dossier.statement,
        envelopes=tuple(strict.sha256(data) for data in envelopes),
        created=clock.rfc3339(now),
        root=desk.landed.root.version,
        detail=detail,
    )


def entry_of_ending(log: audit_log.Log, root: TrustRoot, ending: Ending, now: datetime) -> LogEntry:
    """Return the next entry of `log`, which puts in order what `root` says of the end of some keys."""
    word = "taken for stolen" if ending.event == "revoked" else "ended in good order"
    return LogEntry(
        version=1,
        index=len(log.entries),
        previous=strict.sha256(log.entries[-1].envelope) if log.entries else FIRST_PREVIOUS,
        event=ending.event,
        repository=root.repository,
        envelopes=(),
        created=clock.rfc3339(now),
        root=root.version,
        detail=f"{word}: {', '.join(ending.names)}",
        keys=ending.keys,
        since=ending.since,
    )


def append(desk: Desk, log: audit_log.Log, entry: LogEntry, sign: Callable[[Statement], Envelope]) -> RefUpdate:
    """Sign `entry` and return the update of the log's ref, to be published with everything that belongs to it."""
    head = audit_log.append(desk.clone, log, sign(entry.to_statement()).to_json())
    events.record(desk.config, "log", f"signed {entry.event}", entry.request, index=entry.index, commit=head)
    return RefUpdate(LOG, log.head, head)


def publish(desk: Desk, updates: Sequence[RefUpdate], logged: RefUpdate) -> None:
    """Publish a whole step with its entry in the log, and remember how far the log has come. Raises `StaleError`."""
    records.publish(desk.clone, [*updates, logged], remote=desk.remote)
    high_water.remember(desk, logged.new)
