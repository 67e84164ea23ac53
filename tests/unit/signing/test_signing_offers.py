"""Offers of keys: whoever offers one shows that he has it, and every field of the offer is signed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.keyrings import P256, written
from support.trust import REPOSITORY, private, public

from agent_pipeline.attestation import keys
from agent_pipeline.documents import strict
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.errors import AgentPipelineError, SignatureError
from agent_pipeline.signing import offers
from agent_pipeline.signing.client import Signer
from agent_pipeline.signing.offers import Offered

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = written(tmp_path_factory.mktemp("offer") / "ada", private("ada"))
    return offers.make(Signer(str(path)), "ada", REPOSITORY, NOW)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    return [path] if items is None else [found for name, item in items for found in leaves(item, (*path, name))]


def test_an_offer_is_read_with_both_schemes(made: bytes, tmp_path: Path) -> None:
    assert offers.read(made, "ada") == Offered(replace(public("ada"), owner="ada"), REPOSITORY)
    other = offers.make(Signer(str(written(tmp_path / "key", P256))), "rosa", REPOSITORY, NOW)
    assert offers.read(other, "rosa").key.scheme == keys.P256


def test_an_offer_under_another_name_is_refused(made: bytes) -> None:
    with pytest.raises(SignatureError, match="was made by ada"):
        offers.read(made, "rosa")


def test_every_field_is_signed(made: bytes) -> None:
    envelope = Envelope.from_json(made)
    value = json.loads(envelope.payload)
    assert len(leaves(value)) > 6
    for path in leaves(value):
        changed = json.loads(envelope.payload)
        place = changed
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = place[path[-1]] + ("x" if isinstance(place[path[-1]], str) else 1)
        with pytest.raises(AgentPipelineError):
            offers.read(replace(envelope, payload=strict.canonical(changed)).to_json(), "ada")


def test_a_key_of_somebody_else_cannot_be_offered(made: bytes, tmp_path: Path) -> None:
    """Mallory signs an offer of Ada's key with her own: under Ada's key id, and under her own."""
    payload = Envelope.from_json(made).payload
    path = written(tmp_path / "key", Ed25519PrivateKey.from_private_bytes(b"m" * 32))
    mallory = Signer(str(path)).envelope("application/vnd.in-toto+json", payload)
    for envelope in (mallory, replace(mallory, keyid=public("ada").keyid)):
        with pytest.raises(SignatureError):
            offers.read(envelope.to_json(), "ada")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(min_value=0), change=st.integers(1, 255))
def test_one_changed_byte_is_our_own_error(made: bytes, at: int, change: int) -> None:
    data = bytearray(made)
    data[at % len(data)] ^= change
    try:
        found = offers.read(bytes(data), "ada")
    except AgentPipelineError:
        return
    assert found.key.keyid == public("ada").keyid  # white space between members, and nothing else, may differ
    assert strict.parse(bytes(data), what="it") == strict.parse(made, what="it")
