"""Moments as documents carry them: RFC 3339 in UTC, whole seconds, `Z`. Nothing here reads a clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from agent_pipeline.errors import SchemaError

_FIRST_YEAR: Final = 1000  # C libraries differ about the zeros before an earlier one


def parse(text: str) -> datetime:
    """Read the one form that our documents carry. Raises `SchemaError` for any other, and for the 30th of February."""
    try:
        moment = datetime.fromisoformat(text) if text.endswith("Z") else None
    except ValueError:
        moment = None
    if moment is None or moment.year < _FIRST_YEAR or write(moment) != text:  # it reads many other forms: this is one
        raise SchemaError(f"{text[:40]!r} is not a moment like 2026-01-31T12:00:00Z")
    return moment


def write(moment: datetime) -> str:
    """Write `moment` in that form."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"
