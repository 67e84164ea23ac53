"""Numbers in what people read."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return the count with its noun: `1 file`, `2 files`; `plural` where an `s` does not make it."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
