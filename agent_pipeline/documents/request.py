"""A request: what a developer asks for, before anything runs. Signed by the requester."""

from __future__ import annotations

import base64
from typing import ClassVar

from agent_pipeline.documents import strict
from agent_pipeline.documents.form import Document
from agent_pipeline.documents.statement import Statement
from agent_pipeline.frozen import frozen

PREDICATE_TYPE = "https://agent-pipeline.dev/request/v1"
SUBJECT = "request.json"
KINDS = ("fix", "feature", "refactor", "tests", "deps", "docs")


@frozen
class EngineChoice:
    """Who is to do the work: `name` is claude, command or recorded; the other fields belong to one of them each."""

    name: str
    model: str | None = None
    prompt: str | None = None  # NAME@VERSION
    command: tuple[str, ...] | None = None
    transcript: str | None = None  # sha256 of the recording


@frozen
class Limits:
    """What the run may use; never more than the policy allows. `usd` is a decimal string."""

    steps: int
    seconds: int
    usd: str


@frozen
class Request(Document):
    """What is asked, of which commit, by whom. `nonce` makes two equal requests two."""

    STEM: ClassVar[str] = "request"

    version: int
    nonce: str
    repository: str
    target: str  # full ref name
    base: str  # commit id
    kind: str
    text: str
    only: tuple[str, ...]
    engine: EngineChoice
    limits: Limits
    sandbox: str  # docker, bubblewrap
    requester: str  # the person's name in the trust root
    created: str
    trial: bool

    @property
    def id(self) -> str:
        """The request's id: 16 base32 characters of the SHA-256 of the canonical document."""
        return id_of(self.digest())

    def to_statement(self) -> Statement:
        """Return the in-toto statement that the requester signs; its subject is the request itself."""
        value = self.to_dict()
        return Statement(SUBJECT, strict.sha256(strict.canonical(value)), PREDICATE_TYPE, value)

    @classmethod
    def from_statement(cls, statement: Statement) -> Request:
        """Read what `to_statement` writes. Raises `SchemaError`."""
        request = cls.from_dict(statement.predicate)
        statement.require_about_itself(SUBJECT, PREDICATE_TYPE, "the request")
        return request


def id_of(digest: str) -> str:
    """Return the id of the request whose canonical document has the SHA-256 `digest` (hexadecimal)."""
    return base64.b32encode(bytes.fromhex(digest)[:10]).decode("ascii").lower()
