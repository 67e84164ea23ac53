"""Bytes that are small and would take hours or a machine's memory to read: refused, and at once.

Each of these was accepted once. What is measured is the process's own time, with a hundred times what it takes now.
"""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Iterator

import pytest

from agent_pipeline import policy
from agent_pipeline.documents import strict, transcript
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.proposal import Proposal
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.errors import SchemaError

SECONDS = 5.0
GROWTH_KB = 1 << 20


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Refused with our own error, within the time and the memory."""
    begun, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SchemaError) as refused:
        yield
    assert time.process_time() - begun < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH_KB
    assert len(refused.value.message) < 5000


def test_quotes_that_never_end() -> None:
    with bounded():
        Envelope.from_json(b"[" * 70 + b'"' + b'\\"' * 500_000 + b"\\")


def test_a_duplicate_among_a_hundred_thousand_members() -> None:
    with bounded():
        Envelope.from_json(b"{" + b",".join(b'"%x":0' % number for number in range(100_000)) + b',"0":1}')


@pytest.mark.parametrize("item", [b"0", b"{}", b'"' + b"a" * 1000 + b'"'])
def test_a_manifest_of_nothing_but_changes_that_are_none(item: bytes) -> None:
    count = (4 << 20) // (len(item) + 1)
    with bounded():
        Proposal.from_json(b'{"version":1,"changes":[' + b",".join([item] * count) + b"]}")


def test_a_list_of_mixed_things_that_is_to_have_no_thing_twice() -> None:
    roles = b",".join([b'"root",0,{}'] * 90_000)
    value = b'{"_type":"root","roles":{"root":{"keyids":[' + roles + b'],"threshold":1}}}'
    with bounded():
        TrustRoot.from_json(value)


def test_a_policy_with_a_hundred_thousand_keys() -> None:
    with bounded():
        policy.load(b"".join(b"k%x:\n" % number for number in range(35_000)) + b"k1:\n")


@pytest.mark.parametrize("value", [b"!!int ''", b"!!float ''", b"!!bool x", b"!!timestamp x", b"&a b"])
def test_tags_and_anchors(value: bytes) -> None:
    with pytest.raises(SchemaError, match="tags"):
        policy.load(b"version: " + value + b"\n")


def test_records_are_counted_as_they_are_read() -> None:
    note = strict.canonical({"type": "note", "event": "x", "detail": ""})
    with pytest.raises(SchemaError, match="strict JSON"):
        transcript.parse(b"\r".join([note] * 30_000) + b"\n")


@pytest.mark.parametrize("number", [b"1.0", b"1e0", b"1.5"])
def test_a_fraction_is_no_integer_in_yaml_either(number: bytes) -> None:
    with pytest.raises(SchemaError, match="integer"):
        policy.load(b"version: 1\nlimits: {steps: " + number + b"}\n")
