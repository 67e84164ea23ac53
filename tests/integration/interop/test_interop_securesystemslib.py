"""securesystemslib and we say the same about every document of ours, by either scheme, and about each other's."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from securesystemslib.dsse import Envelope as PeerEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey
from support.interop import PAYLOADS, SCHEMES, Pair, pair

from agent_pipeline.attestation import dsse
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.errors import SignatureError

ALL = [(kind, scheme) for kind in PAYLOADS for scheme in SCHEMES]


def peer_key(mine: Pair) -> SSlibKey:
    return SSlibKey.from_crypto(mine.private.public_key(), keyid=mine.public.keyid)


def peer_verifies(data: bytes, key: SSlibKey) -> bool:
    envelope = PeerEnvelope.from_dict(copy.deepcopy(json.loads(data)))  # it empties what it is given
    try:
        return set(envelope.verify([key], 1)) == {key.keyid}
    except VerificationError:
        return False


@pytest.mark.parametrize(("kind", "scheme"), ALL)
def test_theirs_takes_ours(kind: str, scheme: str) -> None:
    mine = pair(scheme)
    data = mine.seal(*PAYLOADS[kind])
    assert peer_verifies(data, peer_key(mine))
    assert not peer_verifies(data, peer_key(pair(scheme, "rita")))


@pytest.mark.parametrize(("kind", "scheme"), ALL)
def test_ours_takes_theirs(kind: str, scheme: str) -> None:
    mine, (payload_type, payload) = pair(scheme), PAYLOADS[kind]
    theirs = PeerEnvelope(payload, payload_type, {})
    theirs.sign(CryptoSigner(mine.private, peer_key(mine)))
    read = Envelope.from_json(json.dumps(theirs.to_dict()).encode())
    assert dsse.check(read, mine.public, payload_type) == payload
    with pytest.raises(SignatureError):
        dsse.check(read, pair(scheme, "rita").public, payload_type)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("member", ["payload", "payloadType", "sig"])
def test_both_refuse_what_was_altered(scheme: str, member: str) -> None:
    mine, (payload_type, payload) = pair(scheme), PAYLOADS["approval"]
    value: dict[str, Any] = json.loads(mine.seal(payload_type, payload))
    if member == "sig":
        value["signatures"][0]["sig"] = json.loads(mine.seal(payload_type, payload + b" "))["signatures"][0]["sig"]
    else:
        value[member] = {"payload": "e30=", "payloadType": "application/json"}[member]
    data = json.dumps(value).encode()
    assert not peer_verifies(data, peer_key(mine))
    with pytest.raises(SignatureError):
        dsse.check(Envelope.from_json(data), mine.public, payload_type)
