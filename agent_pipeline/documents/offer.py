"""A key that somebody offers to a repository. It gives no right: a person with the role root adds it, or does not."""

from __future__ import annotations

from typing import ClassVar

from agent_pipeline.documents import strict
from agent_pipeline.documents.form import Document
from agent_pipeline.documents.statement import Statement
from agent_pipeline.frozen import frozen

PREDICATE_TYPE = "https://agent-pipeline.dev/offer/v2"
VERSION = 2  # the first one named no repository


@frozen
class Offer(Document):
    """`key` is the public key as one OpenSSH line; the envelope around this is signed with it.

    It is for one `repository`: by the trust root's name for it, or by the address of who has not pinned it yet.
    """

    STEM: ClassVar[str] = "offer"

    version: int
    repository: str
    name: str
    key: str
    created: str

    def to_statement(self) -> Statement:
        """Return the in-toto statement that the key signs; its subject is the offer itself."""
        value = self.to_dict()
        return Statement(f"offer-{self.name}", strict.sha256(strict.canonical(value)), PREDICATE_TYPE, value)

    @classmethod
    def from_statement(cls, statement: Statement) -> Offer:
        """Read what `to_statement` writes. Raises `SchemaError`."""
        offer = cls.from_dict(statement.predicate)
        statement.require_about_itself(f"offer-{offer.name}", PREDICATE_TYPE, "the offer")
        return offer
