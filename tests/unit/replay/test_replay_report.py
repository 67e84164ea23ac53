"""The reporter's file is written beside hostile code: any bytes must give a report or none, never an error."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.replay import report


def lines(*records: object) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def test_a_whole_report_is_read() -> None:
    found = report.parse(lines(["start"], ["test", "a::x", "passed"], ["test", "a::y", "failed"], ["end", 1]))
    assert found.complete
    assert (found.passed, found.failed, found.status) == ({"a::x"}, {"a::y"}, 1)


def test_a_report_without_its_end_is_not_complete() -> None:
    assert not report.parse(lines(["start"], ["test", "a::x", "passed"])).complete


@pytest.mark.parametrize(
    "data",
    [
        b"",
        lines(["end", 0]),
        lines(["start"], ["test", "a", "passed"], ["test", "a", "failed"], ["end", 0]),
        lines(["start"], ["test", "a", "maybe"], ["end", 0]),
        lines(["start"], ["end", True]),
        lines(["start"], ["end", 0], ["end", 0]),
        lines(["start"], ["start"], ["end", 0]),
        lines(["start"], ["test", "x" * 5000, "passed"], ["end", 0]),
    ],
)
def test_a_forged_report_tells_nothing(data: bytes) -> None:
    assert not report.parse(data).complete


@given(st.binary(max_size=400) | st.lists(st.text(max_size=20)).map(lambda x: lines(["start"], x, ["end", 0])))
def test_any_bytes_are_survived(data: bytes) -> None:
    found = report.parse(data)
    assert not (found.passed & found.failed)
