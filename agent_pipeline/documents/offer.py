"""A key that somebody offers to a repository. It gives no right: a person with the role root adds it, or does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agent_pipeline.documents.form import Document

PREDICATE_TYPE = "https://agent-pipeline.dev/offer/v1"


@dataclass(frozen=True, slots=True)
class Offer(Document):
    """`key` is the public key as one OpenSSH line; the envelope around this is signed with it."""

    STEM: ClassVar[str] = "offer"

    version: int
    name: str
    key: str
    created: str
