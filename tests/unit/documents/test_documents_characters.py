import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.documents.characters import is_hidden, visible

# One of every range of Default_Ignorable_Code_Point, and its ends: https://www.unicode.org/reports/tr44/
IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b\u180f"
    "\u200b\u202e\u2060\u206f\u3164\ufe00\ufe0f\ufeff\uffa0\U000e0001\U000e0100\U000e01ef"
)


def test_visible_writes_escapes() -> None:
    assert visible("a\x1b[2J\u202eb\udcff ü") == "a\\x1b[2J\\u202eb\\udcff ü"


@pytest.mark.parametrize("character", IGNORABLE, ids=lambda character: f"U+{ord(character):04X}")
def test_what_draws_nothing_is_hidden(character: str) -> None:
    assert is_hidden(character)
    assert visible(f"a{character}b") != f"a{character}b"


@pytest.mark.parametrize("character", "aü日 \u00a0\u3000\u093e")
def test_what_draws_something_is_not(character: str) -> None:
    assert not is_hidden(character)


@given(st.characters())
def test_nothing_hidden_is_left(character: str) -> None:
    shown = visible(character)
    assert shown.isprintable()
    assert not any(map(is_hidden, shown))
    assert is_hidden(character) or unicodedata.category(character) == "Zs" or shown == character
