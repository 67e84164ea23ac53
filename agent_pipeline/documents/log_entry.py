"""One entry of the shared log `refs/agent-pipeline/log`: hash-chained, signed by CI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agent_pipeline.documents.form import Document

PREDICATE_TYPE = "https://agent-pipeline.dev/log-entry/v1"
EVENTS = ("admitted", "approved", "rejected", "merged", "reverted", "revoked", "stopped", "closed")


@dataclass(frozen=True, slots=True)
class LogEntry(Document):
    """`previous` is the SHA-256 of the previous entry's envelope bytes (64 zeros for the first).

    `envelopes` are the SHA-256 of the DSSE envelopes this entry is about; `statement` is the proposal's identity.
    """

    STEM: ClassVar[str] = "log_entry"

    version: int
    index: int
    previous: str
    event: str
    repository: str
    request: str | None
    number: int | None
    statement: str | None
    envelopes: tuple[str, ...]
    created: str
    detail: str | None = None
