"""What a verifier found: ordered checks, each with a reason, and the proofs that follow from them."""

from __future__ import annotations

from typing import ClassVar

from agent_pipeline.documents.form import Document
from agent_pipeline.frozen import frozen

PASSED, FAILED, SKIPPED, UNKNOWN = "passed", "failed", "skipped", "unknown"


@frozen
class Check:
    """One numbered step: `outcome` is passed, failed, skipped or unknown; `reason` says why, for people."""

    name: str
    outcome: str
    reason: str


@frozen
class Verification(Document):
    """The decision about one proposal. `verdict` is passed only when no check failed and none is unknown."""

    STEM: ClassVar[str] = "verification"

    version: int
    request: str
    proposal: str  # ID.n
    statement: str  # sha256 of the provenance statement: the proposal's identity
    verdict: str
    checks: tuple[Check, ...]
    proofs: tuple[str, ...]


def verdict(checks: tuple[Check, ...]) -> str:
    """Return failed if any check failed, else unknown if any could not tell (or there are none), else passed."""
    outcomes = {check.outcome for check in checks}
    if FAILED in outcomes:
        return FAILED
    if UNKNOWN in outcomes or PASSED not in outcomes:
        return UNKNOWN
    return PASSED
