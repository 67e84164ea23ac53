"""What most commands start with: this clone, the rules in force, one record, the log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from agent_pipeline import clock
from agent_pipeline import config as configuration
from agent_pipeline.audit import high_water, seen_records
from agent_pipeline.audit.log import Log
from agent_pipeline.cli.output import Output
from agent_pipeline.config import Config
from agent_pipeline.errors import UsageError
from agent_pipeline.repository import records
from agent_pipeline.repository.anchor import url_of
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.dossier import Dossier, open_dossier
from agent_pipeline.repository.landed import Desk, Landed, open_desk
from agent_pipeline.repository.records import Record
from agent_pipeline.review.logged import about
from agent_pipeline.review.state import State, state_of
from agent_pipeline.verify import repositories
from agent_pipeline.verify.log import CheckedLog


def here(out: Output, *, push: bool = True, expired: bool = False) -> Desk:
    """Open the clone around the current directory with the rules in force; fetches unless told to stay local.

    `expired` takes a trust root that has expired, for those who look at it or renew it.
    """
    clone = Clone.discover(Path.cwd())
    return opened(clone, configuration.load(), out.tell, None if expired else clock.now(), push=push)


def opened(
    clone: Clone, config: Config, tell: Callable[[str], None], now: datetime | None, *, push: bool = True
) -> Desk:
    """Open `clone` as `open_desk` does, and keep which records the remote has.

    Raises `UsageError` for a clone that is addressed as another repository.
    """
    desk = open_desk(clone, config, tell, now, push=push)
    check_address(clone, desk.landed)
    seen_records.remember(desk)
    return desk


def check_address(clone: Clone, rules: Landed) -> None:
    """Raise `UsageError` unless `rules` are for what is pinned, and for what this clone calls its repository.

    Whoever judged from a misaddressed clone would refuse every proposal, for a reason that lies with nobody but him.
    """
    remote = clone.remote()
    why = repositories.misaddressed(rules.root, rules.anchor, url_of(clone, remote))
    if why is None:
        return
    hint = "compare the digest with somebody who knows it, and pin it again: agent-pipeline trust pin sha256:..."
    if rules.root.branch == rules.anchor.branch:
        address = repositories.shown(rules.root.repository)
        words = f"git remote set-url {remote}" if remote is not None else "git remote add origin"
        hint = (
            f"name it as everybody does: {words} {address}, then pin again (where this machine gets there by another "
            f"address: git config url.OTHER.insteadOf {address}); a fork or a copy needs a trust root of its own"
        )
    raise UsageError(f"this clone is addressed as another repository than its trust root is for: {why}", hint=hint)


def find_record(desk: Desk, name: str) -> tuple[Record, int | None]:
    """Return the record and the proposal's number that `name` (`ID`, a prefix, or `ID.n`) means."""
    prefix, number = records.split_id(name)
    return records.find(desk.clone, prefix, desk.remote), number


def find_newest(desk: Desk, name: str, verb: str) -> Record:
    """Return the record that `name` means, for `verb`, a command that acts on the newest proposal alone.

    Raises `UsageError` for the number of any other one.
    """
    record, number = find_record(desk, name)
    if number is not None and number != (newest := state(desk, record).number):
        said = "there is no proposal" if newest is None else f"the newest is {record.id}.{newest}"
        raise UsageError(
            f"`{verb}` acts on the newest proposal, and {record.id}.{number} is not it: {said}",
            hint=f"agent-pipeline {verb} {record.id}",
        )
    return record


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
