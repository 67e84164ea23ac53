"""The stop cord: while everything is stopped, no request runs, nothing is admitted and nothing merges."""

from __future__ import annotations

from agent_pipeline.attestation import log_entries
from agent_pipeline.attestation.log_entries import Signed
from agent_pipeline.audit import high_water
from agent_pipeline.audit.log import Log
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.errors import PolicyError
from agent_pipeline.repository.landed import Desk


def pulled(log: Log, root: TrustRoot) -> Signed | None:
    """Return the entry by which everything is stopped, None while work goes on. Raises `SignatureError`."""
    return log_entries.stopped_by(log.about_everything(root))


def check(desk: Desk, log: Log) -> None:
    """Raise `PolicyError` while everything is stopped: who did it, since which entry, why, and who may resume."""
    stopped = pulled(log, desk.landed.root)
    if stopped is not None:
        raise PolicyError(said(stopped), hint="a merger or a holder of the root says `agent-pipeline resume`")


def check_running(desk: Desk) -> None:
    """Raise `PolicyError` while everything is stopped: no request runs, nothing is admitted, nothing merges."""
    check(desk, high_water.open_log(desk))


def said(stopped: Signed) -> str:
    """Return one sentence for people."""
    entry = stopped.entry
    why = f": {entry.detail}" if entry.detail else ""
    return f"everything is stopped since entry {entry.index} of the log, by {stopped.person} at {entry.created}{why}"
