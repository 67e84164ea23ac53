"""Vectors of others: what everybody agrees is a signature is one here, and what nobody should take is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cryptography_vectors  # type: ignore[import-untyped]
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from agent_pipeline.attestation import dsse, keys
from agent_pipeline.documents import strict
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.errors import SignatureError

WYCHEPROOF = Path(__file__).resolve().parents[2] / "vectors" / "wycheproof"


def takes(public: object, message: bytes, signature: bytes) -> bool:
    """Whether the key is accepted and the signature holds."""
    try:
        keys.check_signature(keys.key_from_public(public), message, signature, "the vector")
    except SignatureError:
        return False
    return True


def test_the_1024_vectors_of_ed25519() -> None:
    with cryptography_vectors.open_vector_file("asymmetric/Ed25519/sign.input", "r") as file:
        lines = [line.strip().split(":") for line in file]
    assert len(lines) == 1024
    for secret, public, text, signed, _ in lines:
        message, signature = bytes.fromhex(text), bytes.fromhex(signed)[:64]
        assert Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)[:32]).sign(message) == signature
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        assert takes(key, message, signature)
        assert not takes(key, message + b"\0", signature)


def wycheproof(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for group in json.loads((WYCHEPROOF / name).read_text(encoding="utf-8"))["testGroups"]:
        for test in group["tests"]:
            yield group["publicKey"], test


def test_wycheproof_ed25519() -> None:
    """What is valid verifies, what is invalid does not, and keys of small order are refused whatever was signed."""
    count = 0
    for given, test in wycheproof("ed25519_test.json"):
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(given["pk"]))
        taken = takes(public, bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"]))
        if "SmallOrderPublicKey" in test["flags"]:
            assert not taken, test
        elif test["result"] != "acceptable":
            assert taken == (test["result"] == "valid"), test
        count += 1
    assert count == 210


def test_wycheproof_p256() -> None:
    count = 0
    for given, test in wycheproof("ecdsa_secp256r1_sha256_test.json"):
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes.fromhex(given["uncompressed"]))
        taken = takes(public, bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"]))
        assert taken == (test["result"] == "valid"), test
        count += 1
    assert count == 484


def test_the_vector_of_dsse() -> None:
    """Its protocol.md, v1.0.2. The signature there is r and s one after the other: not the form that is accepted."""
    numbers = ec.EllipticCurvePublicNumbers(
        46950820868899156662930047687818585632848591499744589407958293238635476079160,
        5640078356564379163099075877009565129882514886557779369047442380624545832820,
        ec.SECP256R1(),
    )
    key = keys.key_from_public(numbers.public_key())
    kind, body = "http://example.com/HelloWorld", b"hello world"
    assert dsse.pae(kind, body) == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    raw = base64.b64decode("A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==")
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    assert dsse.check(Envelope(kind, body, key.keyid, der), key, kind) == body
    with pytest.raises(SignatureError):
        dsse.check(Envelope(kind, body, key.keyid, raw), key, kind)


def test_the_sorting_of_canonical_json() -> None:
    """RFC 8785, 3.2.3: by UTF-16 code units, so that the surrogate pair comes before U+FB33."""
    text = (
        '{"\\u20ac":"Euro Sign","\\r":"Carriage Return","\\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",'
        '"\\ud83d\\ude00":"Emoji: Grinning Face","\\u0080":"Control","\\u00f6":"Latin Small Letter O With Diaeresis"}'
    )
    written = strict.canonical(json.loads(text)).decode("utf-8")
    names = ["Carriage Return", "One", "Control", "Latin Small", "Euro Sign", "Emoji", "Hebrew Letter"]
    places = [written.index(name) for name in names]
    assert places == sorted(places)
    assert written.startswith('{"\\r":"Carriage Return","1":"One","\x80":"Control"')


def test_the_literals_of_canonical_json() -> None:
    """RFC 8785, 3.2.2, without its fractions, which no document of ours may hold."""
    text = '{"string": "\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/", "literals": [null, true, false]}'
    expected = '{"literals":[null,true,false],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    assert strict.canonical(json.loads(text)) == expected.encode()
