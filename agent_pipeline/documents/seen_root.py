"""How far somebody has seen a trust root to come: kept outside the repository, for each first root that is pinned."""

from __future__ import annotations

from typing import ClassVar

from agent_pipeline.documents.form import Document
from agent_pipeline.frozen import frozen


@frozen
class SeenRoot(Document):
    """The newest version seen, the SHA-256 of its payload, and the commit of the protected branch that had it."""

    STEM: ClassVar[str] = "seen_root"

    version: int
    root_version: int
    payload: str
    commit: str
