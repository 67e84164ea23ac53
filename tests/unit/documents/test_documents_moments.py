"""One moment has one form."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.documents import moments
from agent_pipeline.errors import SchemaError

GOOD = "2026-01-31T12:00:00Z"
FIRST, LAST = datetime(1000, 1, 1), datetime(9998, 12, 31, 23, 59, 59)  # noqa: DTZ001 - bounds are naive
MOMENTS = st.datetimes(min_value=FIRST, max_value=LAST, timezones=st.just(UTC)).map(lambda m: m.replace(microsecond=0))


def test_it_is_read() -> None:
    assert moments.parse(GOOD) == datetime(2026, 1, 31, 12, tzinfo=UTC)


@given(MOMENTS)
def test_what_is_written_is_read(moment: datetime) -> None:
    assert moments.parse(moments.write(moment)) == moment


@pytest.mark.parametrize(
    "text",
    [
        "", "Z", "2026-01-31", "2026-01-31T12:00Z", "2026-01-31T12:00:00", "2026-01-31T12:00:00.0Z", f"{GOOD}Z",
        "2026-01-31t12:00:00Z", "2026-01-31 12:00:00Z", "2026-01-31T12:00:00z", "2026-01-31T12:00:00+00:00",
        "2026-01-31T12:00:00+01:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "20260131T120000Z",
        "2026-W05-6T12:00:00Z", "2026-02-30T12:00:00Z", "2026-01-31T24:00:00Z", "2026-01-31T12:00:60Z",
        "\u0662026-01-31T12:00:00Z", "-026-01-31T12:00:00Z", "2026-01-31T12:00:00+00:00Z",
        "0999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
    ],
)  # fmt: skip
def test_any_other_is_refused(text: str) -> None:
    with pytest.raises(SchemaError, match="not a moment"):
        moments.parse(text)


@given(st.text(max_size=30) | st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z"))
def test_any_text_is_a_moment_or_our_own_error(text: str) -> None:
    try:
        assert moments.write(moments.parse(text)) == text
    except SchemaError:
        return
