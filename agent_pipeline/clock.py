"""The only reader of the wall clock.

Everything else is handed a time. `SOURCE_DATE_EPOCH` (reproducible-builds.org) fixes it for the whole process, which is
how tests turn digests and commit ids into constants; a fixed clock makes nothing pass that would not pass at that time.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """Return the current time in UTC, whole seconds."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    if fixed is not None and fixed.isdigit():
        return datetime.fromtimestamp(int(fixed), UTC)
    return datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 - the one place


def monotonic() -> float:
    """Return seconds on a clock that never goes back; for durations and deadlines only."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Wait; here, so that waiting is found in one place."""
    time.sleep(seconds)


def rfc3339(moment: datetime) -> str:
    """Write `moment` as RFC 3339 in UTC with whole seconds and `Z`, the only form our documents carry."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_rfc3339(text: str) -> datetime:
    """Read the form that `rfc3339` writes. Raises `ValueError` for any other."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def seconds(amount: float) -> timedelta:
    """Return a duration of `amount` seconds."""
    return timedelta(seconds=amount)
