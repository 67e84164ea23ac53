"""What the model submits: a claim about what it changed. The host compares it with what really changed."""

from __future__ import annotations

from typing import ClassVar

from agent_pipeline.documents.form import Document
from agent_pipeline.frozen import frozen


@frozen
class Submission(Document):
    """`files` it means to have changed, `checks` it ran by name."""

    STEM: ClassVar[str] = "submission"

    summary: str
    rationale: str
    files: tuple[str, ...]
    checks: tuple[str, ...]
