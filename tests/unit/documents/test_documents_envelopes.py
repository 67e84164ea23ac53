"""An envelope counts in its one form, and that form is known without writing it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.documents.envelope import Envelope, plain
from agent_pipeline.errors import SchemaError

KEYID = "a" * 64
ENVELOPES = st.builds(
    Envelope,
    st.from_regex(r"\A[\x21-\x7e]{1,20}\Z"),
    st.binary(max_size=50),
    st.just(KEYID),
    st.binary(min_size=1, max_size=64),
)


@given(ENVELOPES)
def test_what_is_written_is_the_one_form(envelope: Envelope) -> None:
    assert Envelope.from_one_form(envelope.to_json()) == envelope


@given(envelope=ENVELOPES, where=st.integers(0, 2), name=st.text(max_size=4), indent=st.none() | st.just(1))
def test_any_other_writing_is_none(*, envelope: Envelope, where: int, name: str, indent: int | None) -> None:
    value: dict[str, Any] = json.loads(envelope.to_json())
    other = (value, value["signatures"][0], {})[where]
    other.setdefault(name, "more")
    data = json.dumps(value, indent=indent, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    read = Envelope.from_one_form(data)
    assert (read is not None) is (plain(data) == data)
    assert read in {None, envelope}


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b'{"payload":"","payloadType":"a","signatures":[]}'])
def test_what_is_no_envelope_is_refused(data: bytes) -> None:
    with pytest.raises(SchemaError):
        Envelope.from_one_form(data)
