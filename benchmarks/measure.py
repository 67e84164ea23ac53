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


def in_turn(  # noqa: PLR0913 - what is compared, and how often
    name: str,
    ours: Callable[[], object],
    peer: Callable[[], object],
    *,
    peer_name: str,
    runs: int,
    inner: int = 1,
    apart: bool = False,
    after: Callable[[], object] | None = None,
    between: Callable[[], object] = lambda: None,
) -> Result:
    """Time `ours` and `peer` in turn, `runs` times each after one warm-up; each figure is the mean of `inner` calls.

    With `apart` every one of them is a figure: what is called now and then has cold calls too, and they count as such.
    `after` undoes `ours`, untimed for `ours`; how long both took together is kept beside it as "ours and after". A side
    that returns a float has timed itself, in ms. `between` tidies up after each pair, and is not timed.
    """
    figures: dict[str, list[float]] = {"ours": [], "peer": []}
    for number in range(runs + 1):
        found = _figures(ours, inner, apart=apart)
        whole = found[-1] + (_timed(after, 1) if after else 0)
        other = _figures(peer, inner, apart=apart)
        if number:
            figures["ours"] += found
            figures["peer"] += other
            if after:
                figures.setdefault("ours and after", []).append(whole)
        between()
    ours_median, peer_median = statistics.median(figures["ours"]), statistics.median(figures["peer"])
    rounded = {label: [round(value, 4) for value in values] for label, values in figures.items()}
    return Result(
        name, round(ours_median, 4), round(peer_median, 4), peer_name, round(ours_median / peer_median, 4), "ms", runs,
        rounded,
    )  # fmt: skip


def _figures(call: Callable[[], object], inner: int, *, apart: bool) -> list[float]:
    return [_timed(call, 1) for _ in range(inner)] if apart else [_timed(call, inner)]


def _timed(call: Callable[[], object], inner: int) -> float:
    """Return the mean of `inner` calls in ms."""
    start, told = time.perf_counter(), 0.0
    for _ in range(inner):
        answer = call()
        told += answer if isinstance(answer, float) else 0.0
    return (told or 1000 * (time.perf_counter() - start)) / inner
