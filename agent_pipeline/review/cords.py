"""Pulling the stop cord, and letting work go on: a signed entry of the log about everything."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from agent_pipeline.audit import cord, entries, high_water
from agent_pipeline.documents.log_entry import SPEAKERS
from agent_pipeline.errors import RejectedError
from agent_pipeline.repository.landed import Desk
from agent_pipeline.signing import hand as hands
from agent_pipeline.signing.hand import Hand

MAX_REASON: Final = 1000


def pull(desk: Desk, reason: str | None, now: datetime) -> int:
    """Stop everything; return the index of the entry that says so. Raises `RejectedError` when it is stopped already.

    Raises `RejectedError` without a key that may, `StaleError` when others keep appending.
    """
    stopped = cord.pulled(high_water.open_log(desk), desk.landed.root)
    if stopped is not None:
        raise RejectedError(cord.said(stopped), hint="`agent-pipeline resume` lets work go on")
    return _say(desk, "stopped", reason, now)


def release(desk: Desk, reason: str | None, now: datetime) -> int:
    """Let work go on; return the index of the entry that says so. Raises `RejectedError` when nothing is stopped."""
    if cord.pulled(high_water.open_log(desk), desk.landed.root) is None:
        raise RejectedError("nothing is stopped", hint="`agent-pipeline stop --all` stops everything")
    return _say(desk, "resumed", reason, now)


def _say(desk: Desk, event: str, reason: str | None, now: datetime) -> int:
    """Append and publish, and again when somebody else was quicker: a cord that others outrun is none."""
    hand = _hand(desk, SPEAKERS[event])
    said = entries.Said(event, detail=reason[:MAX_REASON] if reason else None)

    def say() -> int:
        log = high_water.open_log(desk)
        entries.publish(desk, [], entries.append(desk, log, said, hand.signer.statement, now))
        return log.next_index

    return entries.again(desk, say)


def _hand(desk: Desk, roles: Sequence[str]) -> Hand:
    for role in roles:
        hand = hands.find(desk.config, desk.clone, desk.landed.root, role)
        if hand is not None:
            return hand
    return hands.need(desk.config, desk.clone, desk.landed.root, roles[-1])
