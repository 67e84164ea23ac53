"""An envelope counts in its one form, and that form is known without writing it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent_pipeline.documents import envelope as envelopes
from agent_pipeline.documents import strict
from agent_pipeline.documents.envelope import Envelope
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
    assert (read is not None) is (Envelope.from_json(data).to_json() == data)
    assert read in {None, envelope}


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b'{"payload":"","payloadType":"a","signatures":[]}'])
def test_what_is_no_envelope_is_refused(data: bytes) -> None:
    with pytest.raises(SchemaError):
        Envelope.from_one_form(data)


def _by_the_strict_reader(data: bytes) -> tuple[Envelope | None, bool]:
    """Read as if there were no shorter way; say whether it is the one form."""
    try:
        value, canonical = strict.parse_with_form(data, what="the envelope")
        return envelopes._envelope(value), canonical and len(value) == 3 and len(value["signatures"][0]) == 2
    except SchemaError:
        return None, False


@given(ENVELOPES)
def test_the_short_way_reads_what_is_written(envelope: Envelope) -> None:
    data = envelope.to_json()
    assert (envelopes._as_written(data) is None) is bool({'"', "\\"} & set(envelope.payload_type))


@given(envelope=ENVELOPES, at=st.integers(0), gone=st.integers(0, 3), more=st.binary(max_size=3))
@example(envelope=Envelope("a", b"", KEYID, b"s"), at=40, gone=1, more=b"\n")
@example(envelope=Envelope("a", b"b", KEYID, b"s"), at=13, gone=1, more=b"h")  # stray bits
def test_the_short_way_never_says_what_the_strict_reader_does_not(
    envelope: Envelope, at: int, gone: int, more: bytes
) -> None:
    written = envelope.to_json()
    at %= len(written) + 1
    data = written[:at] + more + written[at + gone :]
    read = envelopes._as_written(data)
    assert read is None or (read, True) == _by_the_strict_reader(data)


def test_the_short_way_knows_the_bounds_of_the_schema() -> None:
    for envelope in (
        Envelope("a" * 201, b"x", KEYID, b"s"),
        Envelope("a", b"x", KEYID, b"s" * 800),
        Envelope("a", b"x", KEYID.upper(), b"s"),
        Envelope("a", b"x", KEYID, b""),
        Envelope("a", b"x" * strict.MAX_BYTES, KEYID, b"s"),
    ):
        with pytest.raises(SchemaError):
            Envelope.from_json(envelope.to_json())
