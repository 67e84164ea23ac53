"""What one run may use: steps, seconds, tokens, money. Asked before each turn; an answer of None is a go-ahead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import ROUND_UP, Decimal
from typing import Final

from agent_pipeline import clock
from agent_pipeline.documents.provenance import Usage
from agent_pipeline.documents.request import Limits
from agent_pipeline.documents.words import counted
from agent_pipeline.mediator.prices import Price

COUNTED: Final = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
_CENT_FRACTION: Final = Decimal("0.000001")


class Budget:
    """Counts and compares. A turn that has begun is let finish, so the last turn may go over by what one turn costs."""

    def __init__(
        self, limits: Limits, tokens: int, price: Price | None, *, monotonic: Callable[[], float] = clock.monotonic
    ) -> None:
        """Start the clock. Without a `price` (nothing is bought) tokens and money are not counted."""
        self._limits, self._tokens, self._price, self._monotonic = limits, tokens, price, monotonic
        self._started = monotonic()
        self._counts = dict.fromkeys(COUNTED, 0)
        self._usd = Decimal(0)
        self.steps = 0

    @property
    def tokens(self) -> int:
        """All tokens so far: input, written to and read from the cache, and output."""
        return sum(self._counts.values())

    @property
    def usd(self) -> str:
        """Dollars so far, rounded up to a millionth."""
        return f"{self._usd.quantize(_CENT_FRACTION, ROUND_UP).normalize():f}"

    def seconds_left(self) -> float:
        """Seconds until the run must be over; never below zero."""
        return max(0.0, self._limits.seconds - self._elapsed())

    def exceeded(self) -> str | None:
        """Return which limit is reached (steps, seconds, tokens, usd), or None."""
        if self.steps >= self._limits.steps:
            return "steps"
        if self.seconds_left() <= 0:
            return "seconds"
        if self._price is not None and self.tokens >= self._tokens:
            return "tokens"
        if self._price is not None and self._usd >= Decimal(self._limits.usd):
            return "usd"
        return None

    def explain(self, limit: str) -> str:
        """Return what was reached, for people."""
        most = {
            "steps": counted(self._limits.steps, "step"),
            "seconds": counted(self._limits.seconds, "second"),
            "tokens": f"{self._tokens} tokens",
            "usd": f"{self._limits.usd} US dollars",
        }
        return f"the run has used its {most[limit]}"

    def charge(self, usage: Mapping[str, int]) -> None:
        """Add one answer's usage, also of an answer that was lost on the way: the provider may have billed it."""
        if self._price is None:
            return
        for name in COUNTED:
            self._counts[name] += usage.get(name, 0)
        self._usd += self._price.cost(usage)

    def usage(self) -> Usage:
        """Return what provenance says. Tokens written to the cache count as input."""
        return Usage(
            steps=str(self.steps),
            input_tokens=str(self._counts["input_tokens"] + self._counts["cache_creation_input_tokens"]),
            output_tokens=str(self._counts["output_tokens"]),
            cache_read_tokens=str(self._counts["cache_read_input_tokens"]),
            usd=self.usd,
            seconds=str(round(self._elapsed())),
        )

    def _elapsed(self) -> float:
        return self._monotonic() - self._started
