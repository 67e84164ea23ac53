"""What most commands start with: this clone, the rules in force, one record, the log."""

from __future__ import annotations

from pathlib import Path

from agent_pipeline import clock
from agent_pipeline import config as configuration
from agent_pipeline.audit import high_water
from agent_pipeline.audit.log import Log
from agent_pipeline.cli.output import Output
from agent_pipeline.repository import records
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.dossier import Dossier, open_dossier
from agent_pipeline.repository.landed import Desk, open_desk
from agent_pipeline.repository.records import Record
from agent_pipeline.review.logged import about
from agent_pipeline.review.state import State, state_of
from agent_pipeline.verify.log import CheckedLog


def here(out: Output, *, push: bool = True, expired: bool = False) -> Desk:
    """Open the clone around the current directory with the rules in force; fetches unless told to stay local.

    `expired` takes a trust root that has expired, for those who look at it or renew it.
    """
    clone = Clone.discover(Path.cwd())
    return open_desk(clone, configuration.load(), out.talk, None if expired else clock.now(), push=push)


def find_record(desk: Desk, name: str) -> tuple[Record, int | None]:
    """Return the record and the proposal's number that `name` (`ID`, a prefix, or `ID.n`) means."""
    prefix, number = records.split_id(name)
    return records.find(desk.clone, prefix, desk.remote), number


def find_dossier(desk: Desk, name: str) -> Dossier:
    """Return the proposal that `name` means. Raises `UsageError` when there is none."""
    record, number = find_record(desk, name)
    return open_dossier(record, number)


def state(desk: Desk, record: Record, log: Log | None = None) -> State:
    """Return where a request stands, by its record and the shared log, which is read now unless given."""
    return state_of(record, logged(desk, record.id, log).entries, desk.landed.root)


def logged(desk: Desk, request: str, log: Log | None = None) -> CheckedLog:
    """Return what the shared log, read now unless given, says about a request. Raises `SignatureError`."""
    return about(desk, log or high_water.open_log(desk), request)
