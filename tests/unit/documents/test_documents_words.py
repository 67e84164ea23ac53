"""Counts with their nouns."""

from __future__ import annotations

from agent_pipeline.documents.words import counted


def test_one_is_singular_and_everything_else_is_not() -> None:
    assert [counted(number, "file") for number in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
    assert [counted(number, "entry", "entries") for number in (1, 3)] == ["1 entry", "3 entries"]
