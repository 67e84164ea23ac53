"""Timing two things in turn, so that a machine whose speed drifts drifts for both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """Medians of `runs` pairs in `unit`; `ratio` is ours over peer. `raw` holds every figure."""

    name: str
    ours: float
    peer: float
    peer_name: str
    ratio: float
    unit: str
    runs: int
    raw: dict[str, list[float]]

    def document(self) -> dict[str, object]:
        """Return the JSON document."""
        return asdict(self)


def in_turn(  # noqa: PLR0913 - how a measurement is made, in one place
    name: str,
    ours: Callable[[], object],
    peer: Callable[[], object],
    *,
    peer_name: str,
    runs: int,
    inner: int = 1,
    between: Callable[[], object] = lambda: None,
) -> Result:
    """Time `ours` and `peer` in turn, `runs` times each after one warm-up; each figure is the mean of `inner` calls.

    `between` tidies up after each pair, and is not timed.
    """
    figures: dict[str, list[float]] = {"ours": [], "peer": []}
    for number in range(runs + 1):
        for label, call in (("ours", ours), ("peer", peer)):
            start = time.perf_counter()
            for _ in range(inner):
                call()
            if number:
                figures[label].append(1000 * (time.perf_counter() - start) / inner)
        between()
    ours_median, peer_median = statistics.median(figures["ours"]), statistics.median(figures["peer"])
    rounded = {label: [round(value, 4) for value in values] for label, values in figures.items()}
    return Result(
        name, round(ours_median, 4), round(peer_median, 4), peer_name, round(ours_median / peer_median, 4), "ms", runs,
        rounded,
    )  # fmt: skip
