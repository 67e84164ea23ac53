"""Public keys: which are accepted, what they are called, and whether a signature is theirs.

Two schemes, chosen by the trust root's entry and never by what is signed: Ed25519, and ECDSA on P-256 with SHA-256 in
DER. A key's id is the SHA-256 of its SubjectPublicKeyInfo, checked whenever a key is loaded: one key has one id, so
counting ids counts key material.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from agent_pipeline.attestation import ed25519_points
from agent_pipeline.attestation.wire import Reader, string
from agent_pipeline.documents.root import Key
from agent_pipeline.errors import SchemaError, SignatureError, UsageError

PublicKey = Ed25519PublicKey | ec.EllipticCurvePublicKey

ED25519: Final = "ed25519"
P256: Final = "ecdsa-sha2-nistp256"
_SSH_ED25519: Final = b"ssh-ed25519"
_SSH_P256: Final = P256.encode()
_SSH_CURVE: Final = b"nistp256"
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # FIPS 186-4, D.1.2.3
_SPKI_ED25519: Final = bytes.fromhex("302a300506032b6570032100")  # RFC 8410, 4: all but the 32 bytes of the key


def keyid(public: PublicKey) -> str:
    """Return the id of a public key: the lower-case SHA-256 of its SubjectPublicKeyInfo (DER)."""
    if isinstance(public, Ed25519PublicKey):
        return hashlib.sha256(_SPKI_ED25519 + public.public_bytes_raw()).hexdigest()
    return hashlib.sha256(_public_bytes(public, "DER", "SubjectPublicKeyInfo")).hexdigest()


def key_from_public(public: object, owner: str = "") -> Key:
    """Return the trust root's form of a public key. Raises `SignatureError` for weak keys and other schemes."""
    if isinstance(public, Ed25519PublicKey):
        key = Key(keyid(public), ED25519, public.public_bytes_raw().hex(), owner)
    elif isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1):
        key = Key(keyid(public), P256, _pem(public), owner)
    else:
        raise SignatureError(
            "this key is neither Ed25519 nor ECDSA on P-256",
            hint="make an Ed25519 key with `agent-pipeline keys generate`",
        )
    load(key)
    return key


def load(key: Key) -> PublicKey:
    """Return the public key that `key` describes.

    Raises `SignatureError` when it is weak, not in the one form that we write, or not the key that its id names.
    """
    return _load(key.keyid, key.scheme, key.public)


@lru_cache(maxsize=1024)
def _load(name: str, scheme: str, text: str) -> PublicKey:
    if scheme == ED25519:
        public: PublicKey = _ed25519(text, name)
    elif scheme == P256:
        public = _p256(text, name)
    else:
        raise SignatureError(f"key {name[:8]}: {scheme[:40]!r} is no scheme that is accepted here")
    if keyid(public) != name:
        raise SignatureError(f"key {name[:8]} is not the key that its id names")
    return public


def _ed25519(text: str, name: str) -> Ed25519PublicKey:
    if re.fullmatch(r"[0-9a-f]{64}", text) is None:
        raise SignatureError(f"key {name[:8]} is not 64 lower-case hexadecimal digits")
    raw = bytes.fromhex(text)
    if (flaw := ed25519_points.flaw(raw)) is not None:
        raise SignatureError(f"key {name[:8]} is refused: {flaw}")
    return Ed25519PublicKey.from_public_bytes(raw)


def _p256(text: str, name: str) -> ec.EllipticCurvePublicKey:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415 - as in `_public_bytes`

    try:
        public = load_pem_public_key(text.encode("utf-8"))
    except (ValueError, UnsupportedAlgorithm, UnicodeError) as error:
        raise SignatureError(f"key {name[:8]} is no readable public key") from error
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise SignatureError(f"key {name[:8]} is not on P-256")
    if _pem(public) != text:
        raise SignatureError(f"key {name[:8]} is not in the one PEM form that is accepted")
    return public


def _pem(public: ec.EllipticCurvePublicKey) -> str:
    return _public_bytes(public, "PEM", "SubjectPublicKeyInfo").decode("ascii")


def _public_bytes(public: ec.EllipticCurvePublicKey, encoding: str, form: str) -> bytes:
    # Imported where a P-256 key is: all of SSH's and PKCS's formats come with it, which no Ed25519 key needs.
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    return public.public_bytes(getattr(Encoding, encoding), getattr(PublicFormat, form))


def check_signature(key: Key, message: bytes, signature: bytes, what: str) -> None:
    """Raise `SignatureError` unless `signature` is that of `key` over exactly `message`. `what` names it in errors."""
    public = load(key)
    try:
        if isinstance(public, Ed25519PublicKey):
            public.verify(signature, message)
        else:
            public.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError) as error:
        raise SignatureError(f"{what}: the signature is not one by key {key.keyid[:8]} over these bytes") from error


def one_form(key: Key, signature: bytes) -> bytes:
    """Return the one of a signature's forms that counts where signatures are told apart by their bytes.

    Beside each (r, s) of ECDSA (r, n - s) holds too, which anybody can compute: of the two it is the one whose s is the
    smaller. Ed25519 has one form only (RFC 8032, 5.1.7: s is below the order). What is no signature stays as it is.
    """
    if key.scheme != P256:
        return signature
    try:
        r, s = decode_dss_signature(signature)
    except ValueError:
        return signature
    return encode_dss_signature(r, _P256_ORDER - s) if _P256_ORDER // 2 < s < _P256_ORDER else signature


def openssh_blob(key: Key) -> bytes:
    """Return the key in SSH's wire format (RFC 8709, RFC 5656)."""
    public = load(key)
    if isinstance(public, Ed25519PublicKey):
        return string(_SSH_ED25519) + string(bytes.fromhex(key.public))
    point = _public_bytes(public, "X962", "UncompressedPoint")
    return string(_SSH_P256) + string(_SSH_CURVE) + string(point)


@lru_cache(maxsize=1024)
def key_from_blob(blob: bytes, owner: str = "") -> Key:
    """Read SSH's wire format. Raises `SchemaError` for other bytes, `SignatureError` for weak keys, other schemes."""
    reader = Reader(blob, "the SSH public key")
    kind = reader.string()
    try:
        if kind == _SSH_ED25519:
            public: PublicKey = Ed25519PublicKey.from_public_bytes(reader.string())
        elif kind == _SSH_P256:
            if reader.string() != _SSH_CURVE:
                raise SchemaError("the SSH public key names another curve than its type")
            public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), reader.string())
        else:
            raise SignatureError(
                f"keys of the type {kind[:40].decode('ascii', 'backslashreplace')} are not accepted",
                hint="make an Ed25519 key with `agent-pipeline keys generate`",
            )
    except ValueError as error:
        raise SchemaError("the SSH public key is no point of its curve") from error
    reader.finish()
    key = key_from_public(public, owner)
    if openssh_blob(key) != blob:
        raise SchemaError("the SSH public key is not in its canonical form")
    return key


def openssh_from_key(key: Key, comment: str = "") -> str:
    """Return the line that stands in `.pub` files and in git's `allowed_signers`."""
    kind = "ssh-ed25519" if key.scheme == ED25519 else P256
    return f"{kind} {base64.b64encode(openssh_blob(key)).decode('ascii')} {comment}".rstrip()


def key_from_openssh(line: str, owner: str = "") -> Key:
    """Read the line of a `.pub` file. Raises `UsageError` for other text, `SignatureError` for keys not accepted."""
    words = line.strip().split(None, 2)
    hint = "give the content of a .pub file, for example `ssh-ed25519 AAAA... name`"
    if len(words) < 2 or "\n" in line.strip():  # noqa: PLR2004 - type and key
        raise UsageError(f"{line.strip()[:60]!r} is no OpenSSH public key", hint=hint)
    try:
        blob = base64.b64decode(words[1], validate=True)
        key = key_from_blob(blob, owner)
    except (binascii.Error, ValueError, SchemaError) as error:
        raise UsageError(f"{line.strip()[:60]!r} is no OpenSSH public key: {error}", hint=hint) from error
    if openssh_from_key(key).split()[0] != words[0]:
        raise UsageError(f"the key is not of the type that its line says ({words[0][:40]})", hint=hint)
    return key


def fingerprint(key: Key) -> str:
    """Return what people compare: `SHA256:...`, as `ssh-keygen -l` prints it."""
    digest = hashlib.sha256(openssh_blob(key)).digest()
    return f"SHA256:{base64.b64encode(digest).decode('ascii').rstrip('=')}"
