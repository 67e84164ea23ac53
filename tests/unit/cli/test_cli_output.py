import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.cli.output import Output, printable
from agent_pipeline.documents.characters import is_hidden


def test_nothing_said_is_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).talk("rob\u3164\ufe0f\u202e\x1b[2J of the team")
    assert capsys.readouterr().err == "rob\\u3164\\ufe0f\\u202e\\x1b[2J of the team\n"


@given(st.text())
def test_only_lines_and_tabs_move_what_is_printed(text: str) -> None:
    shown = printable(text)
    assert not any(is_hidden(char) for char in shown if char not in "\n\t")
    assert printable(shown) == shown
