"""A reviewer's decision about exactly one tree on one base. Our own predicate; gittuf's form is an export."""

from __future__ import annotations

from typing import ClassVar

from agent_pipeline.documents.form import Document
from agent_pipeline.documents.proposal import SUBJECT
from agent_pipeline.documents.statement import Statement
from agent_pipeline.errors import SchemaError
from agent_pipeline.frozen import frozen

PREDICATE_TYPE = "https://agent-pipeline.dev/approval/v1"
APPROVED, REJECTED = "approved", "rejected"


@frozen
class Approval(Document):
    """`proposal` is the digest of the provenance statement, `policy` of the policy; nothing after `expires` counts.

    `takes_back`, of an approval alone, are the SHA-256 of the envelopes of the same reviewer's rejections that it ends:
    nobody can name one that was not there yet, so that an old approval never ends a newer rejection.
    """

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
    takes_back: tuple[str, ...] | None = None

    def to_statement(self, manifest_sha256: str) -> Statement:
        """Return the in-toto statement about the manifest with that SHA-256, which the reviewer signs."""
        return Statement(SUBJECT, manifest_sha256, PREDICATE_TYPE, self.to_dict())

    @classmethod
    def from_statement(cls, statement: Statement) -> Approval:
        """Read what `to_statement` writes. Raises `SchemaError`."""
        approval = cls.from_dict(statement.predicate)
        statement.require_about(SUBJECT, statement.sha256, PREDICATE_TYPE, "the approval")
        if approval.takes_back is not None and approval.decision != APPROVED:
            raise SchemaError("the approval: only what approves takes a rejection back")
        return approval
