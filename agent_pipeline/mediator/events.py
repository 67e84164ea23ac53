"""Live progress of a run, for whoever watches. Nothing depends on anyone listening."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that just happened.

    `kind` is turn, tool, attempt, note or end; `text` is one line for people; `usd` (a decimal string) and `tokens` are
    what the run has used so far.
    """

    kind: str
    step: int
    text: str
    usd: str = "0"
    tokens: int = 0

    def __str__(self) -> str:
        """Return it as a line of progress, with what was used so far once anything was."""
        used = f" ({self.tokens} tokens, {self.usd} USD)" if self.tokens else ""
        return f"[{self.step}] {self.text}{used}"


Sink = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Take an event and do nothing with it."""
    del event
