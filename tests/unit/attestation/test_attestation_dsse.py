"""Envelopes: the vector of the specification, the libraries in both directions, and everything that must be refused."""

from __future__ import annotations

import base64
import copy
import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as PeerEnvelope
from securesystemslib.signer import CryptoSigner, SSlibKey
from support.interop import both_forms
from support.trust import private, public, seal

from agent_pipeline.attestation import dsse, keys, sshsig
from agent_pipeline.documents import strict
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.statement import PAYLOAD_TYPE
from agent_pipeline.errors import AgentPipelineError, SchemaError, SignatureError

PAYLOAD = b'{"hello":"world"}'
P256 = ec.derive_private_key(12345, ec.SECP256R1())
ADA = public("ada")


def envelope(**fields: object) -> Envelope:
    made = Envelope.from_json(seal(PAYLOAD_TYPE, PAYLOAD, "ada"))
    values = {name: fields.get(name, getattr(made, name)) for name in ("payload_type", "payload", "keyid", "signature")}
    return Envelope(**values)


def test_the_specification_s_vector() -> None:
    body, kind = b"hello world", "http://example.com/HelloWorld"
    assert dsse.pae(kind, body) == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    key = keys.key_from_public(
        ec.EllipticCurvePublicNumbers(
            46950820868899156662930047687818585632848591499744589407958293238635476079160,
            5640078356564379163099075877009565129882514886557779369047442380624545832820,
            ec.SECP256R1(),
        ).public_key()
    )
    raw = base64.b64decode("A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==")
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    assert dsse.check(Envelope(kind, body, key.keyid, der), key, kind) == body
    with pytest.raises(SignatureError):  # DER alone is accepted; raw r and s is what some others write
        dsse.check(Envelope(kind, body, key.keyid, raw), key, kind)


@pytest.mark.parametrize("signing", [private("ada"), P256], ids=["ed25519", "p256"])
def test_securesystemslib_agrees_in_both_directions(signing: object) -> None:
    key = keys.key_from_public(signing.public_key())  # type: ignore[attr-defined]
    peer = SSlibKey.from_crypto(signing.public_key(), keyid=key.keyid)  # type: ignore[attr-defined]
    assert peer.keyval["public"] == key.public
    message = dsse.pae(PAYLOAD_TYPE, PAYLOAD)
    signature = (
        private("ada").sign(message) if key.scheme == keys.ED25519 else P256.sign(message, ec.ECDSA(hashes.SHA256()))
    )
    ours = Envelope(PAYLOAD_TYPE, PAYLOAD, key.keyid, signature)
    assert PeerEnvelope.from_dict(copy.deepcopy(json.loads(ours.to_json()))).verify([peer], 1)
    theirs = PeerEnvelope(PAYLOAD, PAYLOAD_TYPE, {})
    theirs.sign(CryptoSigner(signing, peer))  # type: ignore[arg-type]
    read = Envelope.from_json(json.dumps(theirs.to_dict()).encode())
    assert dsse.check(read, key, PAYLOAD_TYPE) == PAYLOAD


@given(st.integers(min_value=0, max_value=len(PAYLOAD) * 8 - 1))
def test_one_bit_of_the_payload(bit: int) -> None:
    data = bytearray(PAYLOAD)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureError):
        dsse.check(envelope(payload=bytes(data)), ADA, PAYLOAD_TYPE)


@given(st.integers(min_value=0, max_value=64 * 8 - 1))
def test_one_bit_of_the_signature(bit: int) -> None:
    data = bytearray(envelope().signature)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureError):
        dsse.check(envelope(signature=bytes(data)), ADA, PAYLOAD_TYPE)


@pytest.mark.parametrize("kind", ["application/vnd.tuf+json", "application/json", PAYLOAD_TYPE.upper()])
def test_another_payload_type(kind: str) -> None:
    with pytest.raises(SignatureError):
        dsse.check(envelope(payload_type=kind), ADA, kind)
    other = Envelope.from_json(seal(kind, PAYLOAD, "ada"))
    with pytest.raises(SignatureError, match="carries"):
        dsse.check(other, ADA, PAYLOAD_TYPE)


def test_a_signature_over_the_bare_payload() -> None:
    for message in (PAYLOAD, base64.b64encode(PAYLOAD)):
        with pytest.raises(SignatureError):
            dsse.check(envelope(signature=private("ada").sign(message)), ADA, PAYLOAD_TYPE)


def test_a_commit_s_signature_is_no_envelope_s() -> None:
    signature = private("ada").sign(sshsig.blob_to_sign(dsse.pae(PAYLOAD_TYPE, PAYLOAD)))
    with pytest.raises(SignatureError):
        dsse.check(envelope(signature=signature), ADA, PAYLOAD_TYPE)


def test_a_trusted_key_id_on_another_key_s_signature() -> None:
    forged = private("rita").sign(dsse.pae(PAYLOAD_TYPE, PAYLOAD))
    with pytest.raises(SignatureError):
        dsse.check(envelope(signature=forged), ADA, PAYLOAD_TYPE)


def test_the_twin_of_an_ecdsa_signature_verifies_so_nothing_may_count_signatures() -> None:
    key = keys.key_from_public(P256.public_key())
    for form in both_forms(P256.sign(dsse.pae(PAYLOAD_TYPE, PAYLOAD), ec.ECDSA(hashes.SHA256()))):
        assert dsse.check(Envelope(PAYLOAD_TYPE, PAYLOAD, key.keyid, form), key, PAYLOAD_TYPE) == PAYLOAD


def test_a_payload_type_outside_ascii() -> None:
    with pytest.raises(SchemaError):
        dsse.pae("tÿpe", b"body")


def plain() -> dict[str, object]:
    value: dict[str, object] = json.loads(seal(PAYLOAD_TYPE, PAYLOAD, "ada"))
    return value


def broken_signatures() -> dict[str, object]:
    one = plain()["signatures"]
    assert isinstance(one, list)
    return {
        "none": [],
        "two": one + one,
        "seventeen": one * 17,
        "null": None,
        "no signature": [{"keyid": ADA.keyid}],
        "no key id": [{"sig": one[0]["sig"]}],
        "an empty one": [{"keyid": ADA.keyid, "sig": ""}],
    }


@pytest.mark.parametrize("name", list(broken_signatures()))
def test_exactly_one_signature(name: str) -> None:
    value = plain() | {"signatures": broken_signatures()[name]}
    with pytest.raises(SchemaError):
        Envelope.from_json(json.dumps(value).encode())


@pytest.mark.parametrize(
    "text", ["aGVsbG8", "aGVsbG9=", "aGVs bG8=", "aGVsbG8=\n", "aGVsbG-_", "aGVsbG8==", "=", "héllo"]
)
def test_stray_base64(text: str) -> None:
    with pytest.raises(SchemaError):
        Envelope.from_json(json.dumps(plain() | {"payload": text}).encode())


def test_members_that_parsers_disagree_about() -> None:
    good = seal(PAYLOAD_TYPE, PAYLOAD, "ada")
    for bad in (
        good[:-1] + b',"payload":"aGVsbG8="}',
        b"\xef\xbb\xbf" + good,
        good + b"{}",
        good[:-1] + b',"x":NaN}',
        good[:-1] + b',"x":9007199254740993}',
        good[:-1] + b',"x":' + b"[" * 100 + b"]" * 100 + b"}",
        good[:-1] + b',"x":"' + b"x" * (1 << 20) + b'"}',
    ):
        with pytest.raises(SchemaError):
            Envelope.from_json(bad)


def test_unknown_members_are_ignored_as_the_specification_says() -> None:
    read = Envelope.from_json(json.dumps(plain() | {"later": 1}).encode())
    assert dsse.check(read, ADA, PAYLOAD_TYPE) == PAYLOAD


@given(st.binary(max_size=300))
def test_any_bytes_are_an_envelope_or_our_own_error(data: bytes) -> None:
    with pytest.raises(AgentPipelineError):
        Envelope.from_json(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(
    st.dictionaries(st.sampled_from(["payloadType", "payload", "signatures", "x"]), JSON),
    st.sampled_from(list(plain())),
)
def test_any_json_is_an_envelope_or_our_own_error(value: dict[str, object], keep: str) -> None:
    for document in (value, plain() | value, plain() | {keep: value}):
        try:
            read = Envelope.from_json(json.dumps(document).encode())
            dsse.check(read, ADA, PAYLOAD_TYPE)
        except AgentPipelineError:
            continue


def test_the_bytes_that_come_back_are_those_that_were_verified() -> None:
    assert strict.sha256(dsse.check(envelope(), ADA, PAYLOAD_TYPE)) == strict.sha256(PAYLOAD)
