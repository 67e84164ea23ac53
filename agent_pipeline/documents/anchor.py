"""The anchor: what a verifier pins outside the repository, and the file that holds a person's pins."""

from __future__ import annotations

from typing import ClassVar

from agent_pipeline.documents.form import Document
from agent_pipeline.frozen import frozen


@frozen
class Anchor:
    """The remote's URL (without one the clone's path), the protected branch's full name, the first root's digest."""

    url: str
    branch: str
    root_digest: str


@frozen
class Pins(Document):
    """All anchors of one person, at most one for each URL."""

    STEM: ClassVar[str] = "pins"

    version: int
    pins: tuple[Anchor, ...]

    def find(self, url: str) -> Anchor | None:
        """Return the anchor for `url`, or None."""
        return next((pin for pin in self.pins if pin.url == url), None)

    def with_pin(self, anchor: Anchor) -> Pins:
        """Return the same pins with `anchor` in place of any other for its URL."""
        return Pins(self.version, (*(pin for pin in self.pins if pin.url != anchor.url), anchor))
