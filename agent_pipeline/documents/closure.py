"""A request's closure, signed by who asked for it: nothing of it lands any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agent_pipeline.documents.form import Document

PREDICATE_TYPE = "https://agent-pipeline.dev/closure/v1"


@dataclass(frozen=True, slots=True)
class Closure(Document):
    """Who closed which request, when, and why."""

    STEM: ClassVar[str] = "closure"

    version: int
    request: str
    by: str
    created: str
    reason: str
