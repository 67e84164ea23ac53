"""Moments as documents carry them: RFC 3339 in UTC, whole seconds, `Z`. Nothing here reads a clock."""

from __future__ import annotations

from datetime import UTC, datetime

from agent_pipeline.errors import SchemaError

_FORM = "%Y-%m-%dT%H:%M:%SZ"


def parse(text: str) -> datetime:
    """Read the one form that our documents carry. Raises `SchemaError` for any other, and for the 30th of February."""
    try:
        moment = datetime.strptime(text, _FORM).replace(tzinfo=UTC)
    except ValueError as error:
        raise SchemaError(f"{text[:40]!r} is not a moment like 2026-01-31T12:00:00Z") from error
    if write(moment) != text:
        raise SchemaError(f"{text[:40]!r} is not a moment like 2026-01-31T12:00:00Z")
    return moment


def write(moment: datetime) -> str:
    """Write `moment` in that form."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
