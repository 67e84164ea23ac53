"""Taking a bundle's record into this repository, as if whoever made it had pushed it here; CI then runs as usual.

For a runner that cannot reach the remote. Nothing but the record's ref moves, and that only forward: never the log, a
branch, or trust.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agent_pipeline.bundle.opening import Opened
from agent_pipeline.bundle.verifying import Proven, prove
from agent_pipeline.documents.verification import FAILED, PASSED, UNKNOWN
from agent_pipeline.errors import GitError, RejectedError, SchemaError, StaleError, UnavailableError
from agent_pipeline.repository import portable, quarantine, records
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.records import REQUESTS
from agent_pipeline.repository.refs import RefUpdate
from agent_pipeline.repository.remotes import tracking


@dataclass(frozen=True, slots=True)
class Imported:
    """What was imported; `old` is the record's commit before (None: it was not here), `new` the one now."""

    proven: Proven
    old: str | None
    new: str


def take(desk: Desk, opened: Opened, now: datetime) -> Imported:
    """Verify a bundle under this repository's own pin, and publish its record.

    Raises `RejectedError` when it does not verify, `StaleError` when another record has its id, `UnavailableError` when
    it could not be told. What is here already stays as it is.
    """
    proven = prove(opened, desk.landed.anchor.root_digest, lambda _root: desk.landed.anchor, now)
    _require_passed(proven)
    records.check_plain(opened.record)
    _check_bases(desk, opened)
    tip, name = opened.record.tip, REQUESTS + opened.record.id
    old = desk.clone.ref(tracking(desk.remote, name))
    quarantine.admit(desk.clone, portable.record_objects(opened.clone, opened.record))
    if old == tip or (old is not None and desk.clone.is_ancestor(tip, old)):
        return Imported(proven, old, old)
    if old is not None and not desk.clone.is_ancestor(old, tip):
        raise StaleError(
            f"there is another record of {opened.record.id} here: the bundle's neither continues it nor is part of it",
            hint="find out who wrote which; `agent-pipeline show` says what this repository has",
        )
    records.publish(desk.clone, [RefUpdate(name, old, tip)], remote=desk.remote)
    return Imported(proven, old, tip)


def _require_passed(proven: Proven) -> None:
    decision = proven.decision
    if decision.verdict == PASSED:
        return
    said = "; ".join(f"{one.name}: {one.reason}" for one in decision.checks if one.outcome in (FAILED, UNKNOWN))
    if decision.verdict == FAILED:
        raise RejectedError(
            f"{decision.proposal} is not imported: {said}", hint="`agent-pipeline bundle verify` tells all"
        )
    raise UnavailableError(
        f"{decision.proposal} could not be decided: {said}", hint="mend what is missing, then try again"
    )


def _check_bases(desk: Desk, opened: Opened) -> None:
    for base in sorted(records.bases(opened.record)):
        try:
            desk.clone.tree(base)
        except GitError as error:
            raise SchemaError(
                f"the base {base[:12]} of {opened.record.id} is not in this repository",
                hint="fetch, and import it again; a proposal on a commit that nobody here has cannot be taken",
            ) from error
