"""What a fuzz target is: a reader of untrusted bytes, inputs to begin with, and what it may raise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent_pipeline.errors import AgentPipelineError

FOUND = Path(__file__).parent / "found"
GOLDEN = Path(__file__).parents[2] / "golden"


@dataclass(frozen=True)
class Target:
    """`read` takes any bytes, and raises our own errors or nothing. `seeds` are inputs that it accepts, or nearly."""

    name: str
    read: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    words: tuple[bytes, ...] = ()

    def take(self, data: bytes) -> object:
        """Let the reader have `data`: what it raises beyond our own errors is a defect."""
        try:
            return self.read(data)
        except AgentPipelineError as error:
            str(error).encode("utf-8", "backslashreplace")
            return None

    def found(self) -> list[bytes]:
        """Inputs that fell once."""
        return [path.read_bytes() for path in sorted((FOUND / self.name).glob("*"))]


def golden(*names: str) -> list[bytes]:
    """Files of the golden case of an accepted proposal."""
    return [(GOLDEN / "accepted" / name).read_bytes() for name in names]
