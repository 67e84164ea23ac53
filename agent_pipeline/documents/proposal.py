"""A proposal: the manifest of full contents. Its digest is the subject of every statement about the change.

A manifest, not a diff: diffs are read differently by git, libgit2 and the diff libraries, and copies hide content. The
contents themselves travel as Git objects; each is named here by its SHA-256 beside Git's own id.
"""

from __future__ import annotations

from typing import ClassVar

from agent_pipeline.documents.form import Document
from agent_pipeline.frozen import frozen

MEDIA_TYPE = "application/vnd.agent-pipeline.proposal+json"
SUBJECT = "proposal.json"  # as statements name it
PUT, DELETE = "put", "delete"


@frozen
class Change:
    """One path. For `put`: `mode` (100644 or 100755), `sha256`, `size` in bytes, `object` (Git blob id).

    `base_object` and `base_mode` say what stood there in the base, None for a new path.
    """

    path: str
    op: str
    mode: str | None = None
    sha256: str | None = None
    size: int | None = None
    object: str | None = None
    base_object: str | None = None
    base_mode: str | None = None


@frozen
class Proposal(Document):
    """What would change: from `base_tree` (of commit `base`) to `tree`. `changes` are sorted by path (bytes)."""

    STEM: ClassVar[str] = "proposal"
    MAX_BYTES: ClassVar[int] = 16 << 20

    version: int
    request: str  # id
    number: int  # 1 for ID.1
    repository: str
    target: str
    base: str
    base_tree: str
    tree: str
    changes: tuple[Change, ...]
    summary: str  # the agent's words: a claim
    rationale: str

    @property
    def name(self) -> str:
        """`ID.n`."""
        return f"{self.request}.{self.number}"

    @property
    def paths(self) -> tuple[str, ...]:
        """All paths that change."""
        return tuple(change.path for change in self.changes)
