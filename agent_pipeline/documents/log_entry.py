"""One entry of the shared log `refs/agent-pipeline/log`: signed, and bound to all of the log before it."""

from __future__ import annotations

from typing import ClassVar

from agent_pipeline.documents import strict
from agent_pipeline.documents.form import Document
from agent_pipeline.documents.statement import Statement
from agent_pipeline.frozen import frozen

PREDICATE_TYPE = "https://agent-pipeline.dev/log-entry/v1"
SUBJECT = "log-entry.json"
FIRST_PREVIOUS = "0" * 64
EVENTS = (
    "admitted",
    "approved",
    "rejected",
    "merged",
    "reverted",
    "revoked",
    "retired",
    "stopped",
    "resumed",
    "closed",
)
# A key was taken for stolen, or gave up roles in good order: what the trust root says, put in the log's order.
ENDINGS = ("revoked", "retired")
EVERYTHING = "*"  # stands for a request's id where an entry is about no single request
# Who may say what: the signer has one of these roles. Events that are not named here are CI's or the merger's.
SPEAKERS = {
    "merged": ("merger",),
    "reverted": ("merger",),
    "revoked": ("ci", "merger", "root"),
    "retired": ("ci", "merger", "root"),
    "stopped": ("ci", "merger", "root"),
    "resumed": ("merger", "root"),
}


@frozen
class LogEntry(Document):
    """`previous` is the SHA-256 of the previous entry's envelope bytes (64 zeros for the first).

    `history` is the root of the Merkle tree (`attestation/merkle.py`) over the entries before this one, `state` that of
    the map (`attestation/state_map.py`) of what they are about. `envelopes` are the SHA-256 of the DSSE envelopes this
    entry is about; `statement` is the proposal's identity; an entry without `request` is about everything;
    `root` is the version of the trust root that its signer went by. The endings name `keys` whose grants end with that
    version, and `since`, the first index that those do not speak for any more. `reviewer` is whose decision an entry
    `approved` or `rejected` is; without it, `rejected` is CI's own. `approved` is said of an approval that takes
    rejections back, and names them after it; one that takes nothing back stands in the record alone.
    """

    STEM: ClassVar[str] = "log_entry"

    version: int
    index: int
    previous: str
    history: str
    state: str
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

    @property
    def about(self) -> str:
        """The request's id, or `EVERYTHING`: the key under which the log's map has this entry."""
        return EVERYTHING if self.request is None else self.request

    @property
    def speakers(self) -> tuple[str, ...]:
        """The roles of which the signer must have one."""
        return SPEAKERS.get(self.event, ("ci", "merger"))

    def to_statement(self) -> Statement:
        """Return the in-toto statement that is signed; its subject is the entry itself."""
        value = self.to_dict()
        return Statement(SUBJECT, strict.sha256(strict.canonical(value)), PREDICATE_TYPE, value)

    @classmethod
    def from_statement(cls, statement: Statement) -> LogEntry:
        """Read what `to_statement` writes. Raises `SchemaError`."""
        entry = cls.from_dict(statement.predicate)
        statement.require_about_itself(SUBJECT, PREDICATE_TYPE, "the log entry")
        return entry
