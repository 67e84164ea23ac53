"""Where other verifiers say yes and ours says no, on purpose: both answers, so that neither changes unseen."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from securesystemslib.dsse import Envelope as PeerEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey
from support.interop import ED25519, P256, STATEMENTS, pair

from agent_pipeline.attestation import dsse, keys
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.statement import PAYLOAD_TYPE
from agent_pipeline.errors import AgentPipelineError, SchemaError, SignatureError

PAYLOAD = STATEMENTS["approval"]


def peer_key(scheme: str, keyid: str | None = None) -> SSlibKey:
    mine = pair(scheme)
    return SSlibKey.from_crypto(mine.private.public_key(), keyid=keyid or mine.public.keyid)


def sealed(scheme: str = ED25519, **fields: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(pair(scheme).seal(PAYLOAD_TYPE, PAYLOAD))
    return value | fields


def theirs(data: str, *trusted: SSlibKey, threshold: int = 1) -> bool:
    try:
        PeerEnvelope.from_dict(json.loads(data)).verify(list(trusted), threshold)
    except (VerificationError, ValueError, KeyError):
        return False
    return True


def ours(data: str, scheme: str = ED25519) -> bool:
    try:
        dsse.check(Envelope.from_json(data.encode()), pair(scheme).public, PAYLOAD_TYPE)
    except AgentPipelineError:
        return False
    return True


def test_both_take_what_all_of_these_start_from() -> None:
    assert theirs(json.dumps(sealed()), peer_key(ED25519))
    assert ours(json.dumps(sealed()))


def test_a_key_with_which_one_signature_fits_every_message() -> None:
    """The identity point: R = identity, S = 0 verifies whatever is signed."""
    identity, forged = (1).to_bytes(32, "little"), (1).to_bytes(32, "little") + bytes(32)
    weak = Ed25519PublicKey.from_public_bytes(identity)
    key = SSlibKey.from_crypto(weak, keyid="0" * 64)
    for payload in ("e30=", "W10="):
        signatures = [{"keyid": "0" * 64, "sig": base64.b64encode(forged).decode()}]
        data = json.dumps({"payload": payload, "payloadType": PAYLOAD_TYPE, "signatures": signatures})
        assert theirs(data, key)
    with pytest.raises(SignatureError, match="small order"):
        keys.key_from_public(weak)


def test_one_key_under_two_names_meets_a_threshold_of_two() -> None:
    signature = sealed()["signatures"][0]
    both = json.dumps(sealed(signatures=[signature, signature | {"keyid": "f" * 64}]))
    assert theirs(both, peer_key(ED25519), peer_key(ED25519, "f" * 64), threshold=2)
    with pytest.raises(SchemaError):
        Envelope.from_json(both.encode())
    with pytest.raises(SignatureError, match="not the key that its id names"):
        keys.load(keys.Key("f" * 64, "ed25519", pair(ED25519).public.public, "ada"))


@pytest.mark.parametrize("where", ["in front", "behind"])
def test_a_member_that_stands_there_twice(where: str) -> None:
    """Python's reader takes the last one, others take the first: two readers, two documents."""
    text, other = json.dumps(sealed()), '"payload": "e30="'
    twice = f"{{{other}, {text[1:]}" if where == "in front" else f"{text[:-1]}, {other}}}"
    assert theirs(twice, peer_key(ED25519)) is (where == "in front")
    assert not ours(twice)


@pytest.mark.parametrize(("how", "taken"), [("a line break", False), ("stray bits", True), ("beyond the end", False)])
def test_base64_that_is_not_the_only_way_to_write_it(how: str, *, taken: bool) -> None:
    good = sealed()["signatures"][0]["sig"]
    assert good.endswith("==")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".index(good[-3])
    stray = good[:-3] + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[last ^ 1] + "=="
    text = {"a line break": good[:20] + "\n" + good[20:], "stray bits": stray, "beyond the end": good + "AAAA"}[how]
    data = json.dumps(sealed(signatures=[{"keyid": pair(ED25519).public.keyid, "sig": text}]))
    assert theirs(data, peer_key(ED25519)) is taken
    assert not ours(data)


def test_the_other_alphabet_of_base64() -> None:
    """DSSE lets a verifier take both alphabets, and theirs does. Ours takes the one that it writes."""
    good = sealed()
    urlsafe = good["payload"].replace("+", "-").replace("/", "_")
    signature = good["signatures"][0] | {"sig": good["signatures"][0]["sig"].replace("+", "-").replace("/", "_")}
    data = json.dumps(good | {"payload": urlsafe, "signatures": [signature]})
    assert data != json.dumps(good)
    assert theirs(data, peer_key(ED25519))
    assert not ours(data)


def test_an_ecdsa_signature_as_r_and_s_one_after_the_other() -> None:
    """DSSE's own vector and SLSA's example of a summary have it so. DER is what Sigstore, TUF and we take."""
    value = sealed(P256)
    r, s = decode_dss_signature(base64.b64decode(value["signatures"][0]["sig"]))
    raw = base64.b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode()
    data = json.dumps(value | {"signatures": [value["signatures"][0] | {"sig": raw}]})
    assert not ours(data, P256)
    assert not theirs(data, peer_key(P256))


def test_a_payload_type_outside_ascii_has_two_lengths() -> None:
    """In characters for one implementation of DSSE, in bytes for another. Ours signs and reads none."""
    with pytest.raises(SchemaError):
        dsse.pae("t\u00ffpe", b"")
    with pytest.raises(SchemaError):
        Envelope.from_json(json.dumps(sealed(payloadType="t\u00ffpe")).encode())


def test_a_scheme_that_the_envelope_asks_for_is_nobody_s_choice() -> None:
    """Unknown members are ignored by both; the scheme is the trust root's."""
    for member in ({"scheme": "none"}, {"alg": "none"}, {"sig_scheme": "ed25519ph"}):
        data = json.dumps(sealed() | member)
        assert theirs(data, peer_key(ED25519))
        assert ours(data)
        assert not ours(data, P256)
