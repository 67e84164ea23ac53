"""One thing that `doctor` looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `needed` findings decide the exit code."""

    name: str
    ok: bool
    said: str
    mend: str = ""
    needed: bool = True
