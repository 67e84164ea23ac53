"""Which keys are accepted, what they are called, and what a weak one would allow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from support.trust import public

from agent_pipeline import process
from agent_pipeline.attestation import ed25519_points, keys
from agent_pipeline.attestation.wire import string
from agent_pipeline.documents.root import Key
from agent_pipeline.errors import AgentPipelineError, SchemaError, SignatureError, UsageError

IDENTITY = bytes([1]) + bytes(31)
P256 = ec.derive_private_key(12345, ec.SECP256R1())
ENV = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}

# RFC 8032, 7.1: public key, message, signature.
RFC_8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


# The points of order 8, as ed25519-speccheck, Wycheproof and libsodium's list of refused keys write them.
ORDER_8 = (
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
)


def small_order() -> list[bytes]:
    """The encodings of all eight points of small order, and their non-canonical doubles."""
    found = []
    for y in (0, 1, ed25519_points.P - 1, *(int.from_bytes(bytes.fromhex(text), "little") for text in ORDER_8)):
        for sign in (0, 1 << 255):
            found += [
                ((y + shift) | sign).to_bytes(32, "little") for shift in (0, ed25519_points.P) if y + shift < 2**255
            ]
    return found


@pytest.mark.parametrize(("raw", "message", "signature"), RFC_8032)
def test_rfc_8032(raw: str, message: str, signature: str) -> None:
    key = keys.key_from_public(Ed25519PublicKey.from_public_bytes(bytes.fromhex(raw)))
    keys.check_signature(key, bytes.fromhex(message), bytes.fromhex(signature), "the vector")
    with pytest.raises(SignatureError):
        keys.check_signature(key, bytes.fromhex(message) + b"!", bytes.fromhex(signature), "the vector")


def test_the_identity_point_would_verify_everything() -> None:
    weak = Ed25519PublicKey.from_public_bytes(IDENTITY)
    for message in (b"one", b"another"):
        weak.verify(IDENTITY + bytes(32), message)  # the library takes it: this is why we must not


@pytest.mark.parametrize("raw", small_order())
def test_small_order_keys_are_refused(raw: bytes) -> None:
    weak = Ed25519PublicKey.from_public_bytes(raw)
    with pytest.raises(SignatureError, match="refused"):
        keys.key_from_public(weak)
    with pytest.raises(SignatureError, match="refused"):
        keys.load(Key(keys.keyid(weak), keys.ED25519, raw.hex(), "x"))


def test_the_base_point_is_not_of_small_order() -> None:
    y = 4 * pow(5, ed25519_points.P - 2, ed25519_points.P) % ed25519_points.P
    assert ed25519_points.flaw(y.to_bytes(32, "little")) is None
    assert len(small_order()) == 14


def test_a_key_off_the_curve_is_refused() -> None:
    assert ed25519_points.flaw((2).to_bytes(32, "little")) == "it is no point of the curve"
    assert ed25519_points.flaw((ed25519_points.P + 3).to_bytes(32, "little")) == "it is not in canonical form"


@given(st.binary(min_size=32, max_size=32))
def test_keys_that_people_make_are_accepted(seed: bytes) -> None:
    key = keys.key_from_public(Ed25519PrivateKey.from_private_bytes(seed).public_key())
    assert keys.keyid(keys.load(key)) == key.keyid


def test_a_key_under_another_id_is_refused() -> None:
    with pytest.raises(SignatureError, match="not the key that its id names"):
        keys.load(replace(public("ada"), keyid=public("rita").keyid))


def test_upper_case_is_another_spelling_and_refused() -> None:
    key = public("ada")
    with pytest.raises(SignatureError):
        keys.load(replace(key, public=key.public.upper()))


@pytest.mark.parametrize(
    "private",
    [
        ec.derive_private_key(5, ec.SECP384R1()),
        ec.derive_private_key(5, ec.SECP256K1()),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-384", "secp256k1", "RSA"],
)
def test_other_schemes_are_refused(private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    with pytest.raises(SignatureError, match="neither"):
        keys.key_from_public(private.public_key())


def test_p256_in_another_pem_form_is_refused() -> None:
    key = keys.key_from_public(P256.public_key())
    keys.load(key)
    for other in (key.public + "\n", key.public.replace("\n", "\r\n"), key.public.rstrip()):
        with pytest.raises(SignatureError):
            keys.load(replace(key, public=other))


def test_the_scheme_comes_from_the_key_not_from_its_text() -> None:
    ada, curve = public("ada"), keys.key_from_public(P256.public_key())
    for mixed in (replace(ada, scheme=keys.P256), replace(curve, scheme=keys.ED25519), replace(ada, scheme="rsa")):
        with pytest.raises(SignatureError):
            keys.load(mixed)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_openssh_agrees(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "key"
    made = process.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "a comment", "-f", str(file)], env=ENV)
    assert made.ok, made.explain()
    line = Path(f"{file}.pub").read_text(encoding="utf-8")
    key = keys.key_from_openssh(line, "ada")
    assert keys.openssh_from_key(key, "a comment") == line.strip()
    shown = process.run(["ssh-keygen", "-l", "-f", str(file)], env=ENV).stdout.decode()
    assert keys.fingerprint(key) in shown.split()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 ????",
        "ssh-ed25519 AAAA",
        "two\nlines here",
        "ssh-rsa " + "A" * 40,
        "-----BEGIN x",
    ],
)
def test_other_lines_are_no_keys(line: str) -> None:
    with pytest.raises((UsageError, SignatureError)):
        keys.key_from_openssh(line)


def test_the_line_must_say_the_type_of_its_key() -> None:
    words = keys.openssh_from_key(public("ada")).split()
    with pytest.raises(UsageError, match="type"):
        keys.key_from_openssh(f"ecdsa-sha2-nistp256 {words[1]}")


def test_bytes_after_the_key_are_refused() -> None:
    with pytest.raises(SchemaError, match="too many"):
        keys.key_from_blob(keys.openssh_blob(public("ada")) + b"x")


def test_a_compressed_point_is_another_spelling_and_refused() -> None:
    numbers = P256.public_key().public_numbers()
    point = bytes([2 + numbers.y % 2]) + numbers.x.to_bytes(32, "big")
    blob = string(b"ecdsa-sha2-nistp256") + string(b"nistp256") + string(point)
    with pytest.raises(SchemaError, match="canonical"):
        keys.key_from_blob(blob)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_key_or_our_own_error(data: bytes) -> None:
    for blob in (data, string(b"ssh-ed25519") + data, string(b"ecdsa-sha2-nistp256") + string(b"nistp256") + data):
        try:
            keys.key_from_blob(blob)
        except AgentPipelineError:
            continue


@given(st.text(max_size=200), st.sampled_from(["ed25519", "ecdsa-sha2-nistp256", "other"]))
def test_any_text_is_a_key_or_our_own_error(text: str, scheme: str) -> None:
    with pytest.raises(SignatureError):
        keys.load(Key("0" * 64, scheme, text, ""))
    try:
        keys.key_from_openssh(text)
    except AgentPipelineError:
        return


# Every encoding of the points whose order divides 8, as libsodium and Wycheproof list them.
SMALL = (
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)


def eightfold(y: int) -> tuple[int, int]:
    """Eight times a point with this y, by the addition law alone."""
    p, d = 2**255 - 19, -121665 * pow(121666, -1, 2**255 - 19)
    square = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
    x = pow(square, (p + 3) // 8, p)
    x = x if x * x % p == square else x * pow(2, (p - 1) // 4, p) % p
    assert x * x % p == square
    for _ in range(3):
        both = d * x * x * y * y
        x, y = 2 * x * y * pow(1 + both, -1, p) % p, (y * y + x * x) * pow(1 - both, -1, p) % p
    return x, y


@pytest.mark.parametrize("text", SMALL)
@pytest.mark.parametrize("sign", [0, 0x80])
def test_no_point_of_small_order_is_a_key(text: str, sign: int) -> None:
    raw = bytearray.fromhex(text)
    assert eightfold(int.from_bytes(raw, "little")) == (0, 1)
    raw[31] |= sign
    said = ed25519_points.flaw(bytes(raw))
    assert said is not None
    assert "small order" in said
