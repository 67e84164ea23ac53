"""in-toto Statement v1 with exactly one subject, which carries a `sha256` and nothing else.

Source: in-toto attestation framework, spec/v1/statement.md. Git object ids stand in dependencies, byproducts and
annotations, since several verifiers refuse them in a subject.
"""

from __future__ import annotations

from typing import Any, Final

from agent_pipeline.documents import schema, strict
from agent_pipeline.errors import SchemaError
from agent_pipeline.frozen import frozen

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"


@frozen
class Statement:
    """Who is spoken of (`subject`, its `sha256`) and what is said (`predicate`, by `predicate_type`)."""

    subject: str
    sha256: str
    predicate_type: str
    predicate: dict[str, Any]

    def to_json(self) -> bytes:
        """Return the canonical bytes, which are what is signed."""
        value = {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": self.subject, "digest": {"sha256": self.sha256}}],
            "predicateType": self.predicate_type,
            "predicate": self.predicate,
        }
        schema.validate("statement", value)
        return strict.canonical(value)

    @classmethod
    def from_json(cls, data: bytes) -> Statement:
        """Read strictly, canonical bytes only: what is signed has one digest, by which everything else names it.

        Raises `SchemaError`.
        """
        value, canonical = strict.parse_with_form(data, what="the statement")
        schema.validate("statement", value)
        subject = value["subject"][0]
        statement = cls(subject["name"], subject["digest"]["sha256"], value["predicateType"], value["predicate"])
        if not canonical:
            raise SchemaError("the statement is not in canonical form (RFC 8785)")
        return statement

    def digest(self) -> str:
        """Return the SHA-256 of the canonical bytes: for provenance, the proposal's identity."""
        return strict.sha256(self.to_json())

    def require_about(self, subject: str, sha256: str, predicate_type: str, what: str) -> None:
        """Raise `SchemaError` unless this says what it says of that subject, by that type.

        For statements whose predicate is a whole document, which says nothing twice.
        """
        self.require(Statement(subject, sha256, predicate_type, self.predicate), what)

    def require_about_itself(self, subject: str, predicate_type: str, what: str) -> None:
        """Raise `SchemaError` unless this is about its own predicate, called `subject`, by that type.

        The predicate is one that was read: a document whose form its schema has confirmed.
        """
        self.require_about(subject, strict.sha256(strict.rewritten(self.predicate)), predicate_type, what)

    def require(self, expected: Statement, what: str) -> None:
        """Raise `SchemaError` unless this is `expected`, which a reader made again from what it had read.

        A statement says some things twice (SLSA's form wants it) and names its own type and subject; a reader that
        takes each from one place must know that the other places say the same.
        """
        if self != expected:
            raise SchemaError(f"{what} contradicts itself, its type or its subject")
