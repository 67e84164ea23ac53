"""Two validators read our schemas, and they agree: the compiled one decides, the other one finds the words."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from support import schemas
from support.trust import POLICY, Maker

from agent_pipeline.documents import schema, strict
from agent_pipeline.documents.approval import Approval
from agent_pipeline.documents.closure import Closure
from agent_pipeline.documents.form import Document, to_plain
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.proposal import Proposal
from agent_pipeline.documents.replay_result import ReplayResult
from agent_pipeline.documents.request import Request
from agent_pipeline.errors import SchemaError

STEMS = sorted(path.name.removesuffix(".schema.json") for path in schema.data_folder("schemas").glob("*.schema.json"))
# Where rules between members make chance unlikely to hit.
REAL = {"policy": yaml.safe_load(POLICY), "proposal": json.loads(Maker().proposal().to_json())}
DOCUMENTS = 60


def made(stem: str) -> list[Any]:
    """Documents of a schema, the same each time."""
    chance = Random(stem)  # noqa: S311 - test data
    found = [schemas.make(schema.load(stem), chance) for _ in range(DOCUMENTS)]
    return [*found, *([REAL[stem]] * DOCUMENTS if stem in REAL else [])]


@pytest.mark.parametrize("stem", STEMS)
def test_they_agree_about_what_has_the_form_and_what_nearly_has(stem: str) -> None:
    chance, answers = Random(stem), set()  # noqa: S311 - test data
    for document in made(stem):
        for value in (document, *(schemas.bend(document, chance) for _ in range(4))):
            answers.add(schema.holds(stem, value))
            assert schema.holds(stem, value) is (schema.first_error(stem, value) is None), value
    assert answers == {True, False}  # or nothing was compared


@pytest.mark.parametrize(
    "value",
    ["\ud800", {"\ud800": 1}, {1: "one"}, object(), float("nan"), b"bytes"],
    ids=["a lone surrogate", "in a name", "a number as a name", "an object", "not a number", "bytes"],
)
def test_what_is_no_json_has_no_form(value: Any) -> None:
    for document in (value, {"version": 1, "x": value}):
        with pytest.raises(SchemaError):
            schema.validate("closure", document)


@pytest.mark.parametrize("kind", [Approval, Closure, LogEntry, Proposal, ReplayResult, Request], ids=lambda k: k.STEM)
def test_a_document_that_was_read_is_written_as_it_was(kind: type[Document]) -> None:
    """Readers compare a statement with the predicate that they read, not with one that they made again."""
    held = [value for value in made(kind.STEM) if schema.holds(kind.STEM, value)]
    assert held
    for value in held:
        assert to_plain(kind.from_dict(value)) == value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300)
@given(value=JSON, ascii_only=st.booleans(), ordered=st.booleans(), gap=st.sampled_from(["", " "]))
def test_canonical_bytes_are_known_without_writing_them_again(
    *, value: Any, ascii_only: bool, ordered: bool, gap: str
) -> None:
    try:
        data = json.dumps(value, ensure_ascii=ascii_only, sort_keys=ordered, separators=(f",{gap}", f":{gap}")).encode()
        read = strict.parse(data, what="it")
    except (UnicodeEncodeError, SchemaError):
        return
    assert strict.rewritten(read) == strict.canonical(read)
    assert strict.is_canonical(data, read) is (strict.canonical(read) == data)
    assert strict.parse_with_form(data, what="it") == (read, strict.canonical(read) == data)
    canonical = strict.canonical(read)
    assert strict.is_canonical(canonical, strict.parse(canonical, what="it"))


# What may stand anywhere in a text, and what a second look at each object is there to find.
WORDS = (
    "",
    " ",
    "0",
    "-0",
    "1.0",
    "1e3",
    "NaN",
    "9007199254740993",
    '"',
    "\\",
    "\\ud800",
    "\\u0061",
    '"a":1,',
    ",",
    "{",
    "]",
)
WORDS += ("\x7f", "\x00", "\ufeff", "é", "null")


@settings(max_examples=500)
@given(value=JSON, words=st.lists(st.tuples(st.sampled_from(WORDS), st.integers(0, 60)), max_size=3))
def test_one_look_at_the_whole_finds_what_a_look_at_each_object_finds(value: Any, words: list[tuple[str, int]]) -> None:
    text = strict.canonical(value).decode()
    for word, at in words:
        text = text[:at] + word + text[at:]
    assert _said(strict.parse, text) == _said(strict._doubted, text)


@pytest.mark.parametrize(
    "text", ['{"a":1,"a":1}', '{"a":{"b":1,"b":2}}', '{"a":1.5}', "[9007199254740992]", "[-0]", "[NaN]"]
)
def test_what_is_doubtful_is_looked_at(text: str) -> None:
    assert strict._as_written(text.encode()) is strict._DOUBTFUL
    assert strict._as_written(b'{"a":[1,null,"b"]}') == {"a": [1, None, "b"]}


def _said(reader: Callable[..., Any], text: str) -> str:
    try:
        return repr(reader(text.encode(), what="it"))
    except SchemaError as error:
        return error.message


@pytest.mark.parametrize("text", ['"\\ud800"', '["\\uDFFF"]', '{"\\udbff":1}', '"\\ud83d\\u0041"', '"\\\\\\ud800"'])
def test_half_of_a_pair_is_refused_wherever_it_stands(text: str) -> None:
    with pytest.raises(SchemaError, match="surrogates"):
        strict.parse(text.encode(), what="it")
    assert strict.parse(b'"\\ud83d\\ude00 \\\\ud800"', what="it") == "\U0001f600 \\ud800"
