"""Moments as documents carry them: RFC 3339 in UTC, whole seconds, `Z`. Nothing here reads a clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from agent_pipeline.errors import SchemaError

# C libraries differ about the zeros before an earlier year, and after the last one there is nothing to add to.
_YEARS: Final = range(1000, 9999)
_FORM: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


def parse(text: str) -> datetime:
    """Read the one form that our documents carry. Raises `SchemaError` for any other, and for the 30th of February."""
    try:
        # It reads many other forms: this is the one.
        moment = datetime.fromisoformat(text) if _FORM.fullmatch(text) else None
    except ValueError:
        moment = None
    if moment is None or moment.year not in _YEARS:
        raise SchemaError(f"{text[:40]!r} is not a moment like 2026-01-31T12:00:00Z")
    return moment


def write(moment: datetime) -> str:
    """Write `moment` in that form."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"
