"""One entry of the shared log `refs/agent-pipeline/log`: hash-chained, signed by CI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agent_pipeline.documents import strict
from agent_pipeline.documents.form import Document
from agent_pipeline.documents.statement import Statement

PREDICATE_TYPE = "https://agent-pipeline.dev/log-entry/v1"
SUBJECT = "log-entry.json"
FIRST_PREVIOUS = "0" * 64
EVENTS = ("admitted", "approved", "rejected", "merged", "reverted", "revoked", "retired", "stopped", "closed")
# A key was taken for stolen, or gave up roles in good order: what the trust root says, put in the log's order.
ENDINGS = ("revoked", "retired")


@dataclass(frozen=True, slots=True)
class LogEntry(Document):
    """`previous` is the SHA-256 of the previous entry's envelope bytes (64 zeros for the first).

    `envelopes` are the SHA-256 of the DSSE envelopes this entry is about; `statement` is the proposal's identity;
    `root` is the version of the trust root that its signer went by. The endings name `keys` whose grants end with that
    version, and `since`, the first index that those do not speak for any more. `reviewer` is whose decision an entry
    `approved` or `rejected` is; without it, `rejected` is CI's own.
    """

    STEM: ClassVar[str] = "log_entry"

    version: int
    index: int
    previous: str
    event: str
    repository: str
    envelopes: tuple[str, ...]
    created: str
    root: int
    request: str | None = None
    number: int | None = None
    statement: str | None = None
    detail: str | None = None
    keys: tuple[str, ...] | None = None
    since: int | None = None
    reviewer: str | None = None

    def to_statement(self) -> Statement:
        """Return the in-toto statement that CI signs; its subject is the entry itself."""
        value = self.to_dict()
        return Statement(SUBJECT, strict.sha256(strict.canonical(value)), PREDICATE_TYPE, value)

    @classmethod
    def from_statement(cls, statement: Statement) -> LogEntry:
        """Read what `to_statement` writes. Raises `SchemaError`."""
        entry = cls.from_dict(statement.predicate)
        digest = strict.sha256(strict.canonical(statement.predicate))
        statement.require_about(SUBJECT, digest, PREDICATE_TYPE, "the log entry")
        return entry
