"""What models cost, in US dollars per million tokens.

Used to stop a run in time, not to write bills: the provider's bill is the truth. A model that is not listed costs as
much as the dearest that ever was, so that an unknown one ends early rather than late.

Source: the provider's public price list, October 2026. Writing the five-minute cache costs 1.25 times the input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

_MILLION: Final = Decimal(1_000_000)
_CACHE_WRITE: Final = Decimal("1.25")


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens of input, output and cache reads.

    `above` is what a request costs whose whole input, cached or not, is longer than `threshold` tokens.
    """

    input: Decimal
    output: Decimal
    cache_read: Decimal
    threshold: int | None = None
    above: Price | None = None

    def cost(self, usage: Mapping[str, int]) -> Decimal:
        """Return the dollars for one answer with the API's own usage counts."""
        fresh, written = usage.get("input_tokens", 0), usage.get("cache_creation_input_tokens", 0)
        cached, said = usage.get("cache_read_input_tokens", 0), usage.get("output_tokens", 0)
        if self.threshold is not None and self.above is not None and fresh + written + cached > self.threshold:
            return self.above.cost(usage)
        input_cost = (fresh + written * _CACHE_WRITE) * self.input + cached * self.cache_read
        return (input_cost + said * self.output) / _MILLION


def _price(input_usd: str, output_usd: str, cache_read: str) -> Price:
    return Price(Decimal(input_usd), Decimal(output_usd), Decimal(cache_read))


DEAREST: Final = _price("25", "125", "2.5")

# By exact model id: a later model must never be taken for an earlier and cheaper one, as a prefix would do.
FAMILIES: Final[Mapping[str, Price]] = {
    "claude-fable-5": _price("10", "50", "1"),
    "claude-mythos-5": _price("10", "50", "1"),
    "claude-fable-5-1": _price("10", "50", "0.25"),
    "claude-mythos-5-1": _price("10", "50", "0.25"),
    "claude-opus-5-5": _price("4", "20", "0.2"),
    "claude-opus-5": _price("5", "25", "0.5"),
    "claude-opus-4-8": _price("5", "25", "0.5"),
    "claude-opus-4-7": _price("5", "25", "0.5"),
    "claude-opus-4-6": _price("5", "25", "0.5"),
    "claude-opus-4-5": _price("5", "25", "0.5"),
    "claude-sonnet-5-5": _price("2", "10", "0.2"),
    "claude-sonnet-5": _price("2", "10", "0.2"),
    "claude-sonnet-4-6": _price("3", "15", "0.3"),
    "claude-sonnet-4-5": Price(Decimal(3), Decimal(15), Decimal("0.3"), 200_000, _price("6", "22.5", "0.6")),
    "claude-haiku-5-5": Price(Decimal("0.1"), Decimal("0.5"), Decimal("0.01"), 100_000, _price("0.5", "2.5", "0.05")),
    "claude-haiku-4-5": _price("1", "5", "0.1"),
}
_DATE_DIGITS: Final = 8


def price_of(model: str) -> Price:
    """Return the price of `model`, with or without a date at its end; the dearest for one that is not listed."""
    name, _, last = model.rpartition("-")
    if name and len(last) == _DATE_DIGITS and last.isdigit():
        model = name
    return FAMILIES.get(model, DEAREST)
