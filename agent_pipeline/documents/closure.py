"""A request's closure, signed by who asked for it or by a merger: nothing of it lands any more."""

from __future__ import annotations

from typing import ClassVar

from agent_pipeline.documents import strict
from agent_pipeline.documents.form import Document
from agent_pipeline.documents.statement import Statement
from agent_pipeline.frozen import frozen

PREDICATE_TYPE = "https://agent-pipeline.dev/closure/v1"
SUBJECT = "closure"


@frozen
class Closure(Document):
    """Who closed which request, when, and why."""

    STEM: ClassVar[str] = "closure"

    version: int
    request: str
    by: str
    created: str
    reason: str

    def to_statement(self) -> Statement:
        """Return the in-toto statement that is signed; its subject is the closure itself."""
        value = self.to_dict()
        return Statement(SUBJECT, strict.sha256(strict.canonical(value)), PREDICATE_TYPE, value)

    @classmethod
    def from_statement(cls, statement: Statement) -> Closure:
        """Read what `to_statement` writes. Raises `SchemaError`."""
        closure = cls.from_dict(statement.predicate)
        statement.require_about_itself(SUBJECT, PREDICATE_TYPE, "the closure")
        return closure
