"""What the shared log says about one request, verified: read by proof, not by going through all of it."""

from __future__ import annotations

from agent_pipeline.audit.log import Log
from agent_pipeline.repository.landed import Desk
from agent_pipeline.verify.log import CheckedLog, check_proof


def about(desk: Desk, log: Log, request: str) -> CheckedLog:
    """Return the entries about `request` and about everything, by index. Raises `SignatureError`."""
    return check_proof(log.prove(request), desk.landed.root, request)
