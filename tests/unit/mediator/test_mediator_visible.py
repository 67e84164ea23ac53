import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.mediator.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain wörds 日本", "plain wörds 日本"),
        ("two\n  lines\tand a tab", "two lines and a tab"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_does_not_print_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(), st.integers(min_value=1, max_value=50))
def test_any_text_prints_in_one_bounded_line(text: str, limit: int) -> None:
    shown = visible(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
