"""SSH signatures (SSHSIG) for commits, byte for byte as OpenSSH makes them, without a subprocess.

Source: OpenSSH, PROTOCOL.sshsig. Git signs with namespace `git`; another namespace never passes for it, nor does a DSSE
envelope's signature: what is signed starts differently.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from agent_pipeline.attestation import keys
from agent_pipeline.attestation.wire import Reader, mpint, string
from agent_pipeline.documents.root import Key
from agent_pipeline.errors import SchemaError, SignatureError
from agent_pipeline.frozen import frozen

GIT: Final = "git"
_MAGIC: Final = b"SSHSIG"
_VERSION: Final = 1
_HASHES: Final = {b"sha512": hashlib.sha512, b"sha256": hashlib.sha256}
_BEGIN: Final = "-----BEGIN SSH SIGNATURE-----"
_END: Final = "-----END SSH SIGNATURE-----"
_WIDTH: Final = 70
_MAX_LENGTH: Final = 4096


@frozen
class Signature:
    """An SSH signature taken apart: the key that it carries (a claim), and `raw` in the form of that key's scheme."""

    key: Key
    namespace: str
    hash: str
    raw: bytes


def blob_to_sign(message: bytes, namespace: str = GIT, algorithm: str = "sha512") -> bytes:
    """Return the bytes that are signed: never the message itself, always with the namespace in front."""
    digest = _HASHES[algorithm.encode()](message).digest()
    return _MAGIC + string(namespace.encode()) + string(b"") + string(algorithm.encode()) + string(digest)


def armor(signature: bytes, key: Key, namespace: str = GIT) -> str:
    """Return `signature` over `blob_to_sign` as Git keeps it in a commit, as `ssh-keygen -Y sign` writes it."""
    kind, raw = b"ssh-ed25519", signature
    if key.scheme == keys.P256:
        r, s = decode_dss_signature(signature)
        kind, raw = keys.P256.encode(), mpint(r) + mpint(s)
    blob = (
        _MAGIC
        + _VERSION.to_bytes(4, "big")
        + string(keys.openssh_blob(key))
        + string(namespace.encode())
        + string(b"")
        + string(b"sha512")
        + string(string(kind) + string(raw))
    )
    text = base64.b64encode(blob).decode("ascii")
    lines = [text[at : at + _WIDTH] for at in range(0, len(text), _WIDTH)]
    return "\n".join([_BEGIN, *lines, _END, ""])


def read(armored: str) -> Signature:
    """Take an armored signature apart. Raises `SchemaError`, or `SignatureError` for keys that are not accepted."""
    reader = Reader(_unarmor(armored), "the SSH signature")
    if reader.take(len(_MAGIC)) != _MAGIC or reader.uint32() != _VERSION:
        raise SchemaError("this is no SSH signature of version 1")
    key = keys.key_from_blob(reader.string())
    namespace, reserved, algorithm, inner = (reader.string() for _ in range(4))
    reader.finish()
    if reserved or algorithm not in _HASHES or not namespace.isascii():
        raise SchemaError("the SSH signature names a hash or a namespace that is not accepted, or has reserved bytes")
    return Signature(key, namespace.decode("ascii"), algorithm.decode("ascii"), raw_signature(inner, key))


def _unarmor(text: str) -> bytes:
    lines = text.strip().splitlines()
    if len(text) > _MAX_LENGTH or len(lines) < 3 or (lines[0], lines[-1]) != (_BEGIN, _END):  # noqa: PLR2004 - begin, body, end
        raise SchemaError("this is no armored SSH signature")
    try:
        return base64.b64decode("".join(lines[1:-1]).encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SchemaError("the SSH signature is not base64") from error


def raw_signature(inner: bytes, key: Key) -> bytes:
    """Return SSH's form of a signature in the form of the key's scheme. Raises `SchemaError` for any other bytes."""
    reader = Reader(inner, "the SSH signature's inner part")
    kind, body = reader.string(), reader.string()
    reader.finish()
    if kind != (b"ssh-ed25519" if key.scheme == keys.ED25519 else keys.P256.encode()):
        raise SchemaError("the SSH signature is of another kind than its key")
    if key.scheme == keys.ED25519:
        return body
    numbers = Reader(body, "the ECDSA signature")
    r, s = numbers.mpint(), numbers.mpint()
    numbers.finish()
    return encode_dss_signature(r, s)


def verify(message: bytes, armored: str, key: Key, namespace: str = GIT) -> None:
    """Raise `SignatureError` unless `armored` is a signature by `key` over `message` in `namespace`.

    Whether that key may sign such a thing is the caller's question; nothing in the signature answers it.
    """
    try:
        signature = read(armored)
    except SchemaError as error:
        raise SignatureError(f"the SSH signature cannot be read: {error}") from error
    check(message, signature, key, namespace)


def check(message: bytes, signature: Signature, key: Key, namespace: str = GIT) -> None:
    """Raise `SignatureError` unless `signature`, which was read before, is as `verify` says."""
    if signature.key.keyid != key.keyid:
        raise SignatureError(f"the SSH signature is by key {signature.key.keyid[:8]}, not {key.keyid[:8]}")
    if signature.namespace != namespace:
        raise SignatureError(f"the SSH signature is for {signature.namespace[:40]!r}, not for {namespace!r}")
    keys.check_signature(key, blob_to_sign(message, namespace, signature.hash), signature.raw, "the SSH signature")
