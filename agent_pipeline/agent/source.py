"""Where the loop's turns come from: a model, or a recording of one. The loop cannot tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from agent_pipeline.agent.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Turn:
    """One complete answer. `content` are the blocks exactly as they are sent back; `usage` the API's own counts."""

    content: tuple[dict[str, Any], ...]
    stop_reason: str
    usage: dict[str, int]
    model: str | None = None
    request_id: str | None = None
    message_id: str | None = None
    stop_details: dict[str, Any] | None = None
    notes: tuple[str, ...] = field(default=())

    def record(self, step: int, request_digest: str) -> dict[str, Any]:
        """Return the transcript's record of it."""
        known = {
            "model": self.model,
            "request_id": self.request_id,
            "message_id": self.message_id,
            "stop_details": self.stop_details,
        }
        return {
            "type": "turn",
            "step": step,
            "request_digest": request_digest,
            "content": list(self.content),
            "stop_reason": self.stop_reason,
            "usage": self.usage,
        } | {name: value for name, value in known.items() if value is not None}


class Stopped(Exception):  # noqa: N818 - an end, not an error
    """There is no answer, and that ends the run with `outcome`."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        """Keep both for the loop."""
        super().__init__(detail)
        self.outcome, self.detail = outcome, detail


class Source(Protocol):
    """Answers requests, in order."""

    def answer(self, request: dict[str, Any], request_digest: str, step: int) -> Turn:
        """Return the next answer. Raises `Stopped`; `ModelError` (a model), `CheckError` (a recording)."""

    def witness(self, record: dict[str, Any]) -> str | None:
        """Look at a tool's record; return what is remarkable about it. Raises `CheckError` (a recording)."""

    def finish(self, outcome: Outcome) -> None:
        """The run ended. Raises `CheckError` when a recording had more to say."""
