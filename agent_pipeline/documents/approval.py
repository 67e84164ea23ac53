"""A reviewer's decision about exactly one tree on one base. Our own predicate; gittuf's form is an export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agent_pipeline.documents.form import Document

PREDICATE_TYPE = "https://agent-pipeline.dev/approval/v1"
APPROVED, REJECTED = "approved", "rejected"


@dataclass(frozen=True, slots=True)
class Approval(Document):
    """`proposal` is the digest of the provenance statement, `policy` of the policy; nothing after `expires` counts."""

    STEM: ClassVar[str] = "approval"

    version: int
    decision: str
    repository: str
    target: str
    base: str
    tree: str
    request: str
    proposal: str
    policy: str
    reviewer: str
    created: str
    expires: str
    reason: str | None = None
