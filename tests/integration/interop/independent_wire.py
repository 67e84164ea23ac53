"""Bytes as docs/wire-format.md has them: JSON, keys, envelopes, SSH signatures, Git objects. For the verifier beside.

Written from that document alone: nothing of agent_pipeline is imported.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

PublicKey = Ed25519PublicKey | ec.EllipticCurvePublicKey
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256
TREE, LINK = "40000", "160000"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"


class NoError(Exception):
    """The answer is no; the message says why."""


def need(holds: object, why: str) -> None:
    if not holds:
        raise NoError(why)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# JSON, base64, moments ------------------------------------------------------------------------------------------------


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    need(len(dict(pairs)) == len(pairs), "a member stands there twice")
    return dict(pairs)


def _bounded(text: str) -> int:
    need(abs(int(text)) < 1 << 53, "an integer beyond 2^53-1")
    return int(text)


def _refuse(text: str) -> NoReturn:
    raise NoError(f"{text} is no number of ours")


def parse(data: bytes) -> Any:
    """Read JSON strictly."""
    value = json.loads(
        data.decode(), object_pairs_hook=_once, parse_int=_bounded, parse_float=_refuse, parse_constant=_refuse
    )
    json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate has no bytes
    return value


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _ordered(value[name]) for name in sorted(value, key=lambda text: text.encode("utf-16-be"))}
    return [_ordered(item) for item in value] if isinstance(value, list) else value


def canonical(value: Any) -> bytes:
    """RFC 8785, for values without fractions."""
    return json.dumps(_ordered(value), ensure_ascii=False, separators=(",", ":")).encode()


def parse_canonical(data: bytes) -> Any:
    value = parse(data)
    need(canonical(value) == data, "not in canonical form")
    return value


def unbase64(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    need(base64.b64encode(data).decode() == text, "base64 with stray bits")
    return data


def moment(text: str) -> datetime:
    need(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text, re.ASCII), f"{text} is no moment")
    need("1000" <= text[:4] <= "9998", f"{text}: a year that nobody writes")
    return datetime.fromisoformat(text)


# Keys, envelopes ------------------------------------------------------------------------------------------------------


def keyid_of(key: PublicKey) -> str:
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def load_key(keyid: str, scheme: str, text: str) -> PublicKey:
    key: Any
    if scheme == "ed25519":
        y, p = int.from_bytes(bytes.fromhex(text), "little") & ((1 << 255) - 1), (1 << 255) - 19
        d = -121665 * pow(121666, -1, p) % p
        small = y in (0, 1, p - 1) or (d * pow(y, 4, p) + 2 * y * y - 1) % p == 0
        need(y < p and not small, f"key {keyid[:8]} is of small order or not in canonical form")
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
        same = key.public_bytes_raw().hex()
    else:
        key = load_pem_public_key(text.encode())
        need(scheme == "ecdsa-sha2-nistp256" and isinstance(key.curve, ec.SECP256R1), f"no scheme of ours: {scheme}")
        same = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    need(same == text and keyid_of(key) == keyid, f"key {keyid[:8]} is another one, or in another form")
    found: PublicKey = key
    return found


def check(key: PublicKey, message: bytes, signature: bytes) -> None:
    """Raise `InvalidSignature` unless it holds."""
    if isinstance(key, Ed25519PublicKey):
        key.verify(signature, message)
    else:
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))


def _is_larger_twin(signature: bytes) -> bool:
    """Whether this is the form of a signature on P-256 that does not count: s is more than half the order."""
    try:
        _, s = decode_dss_signature(signature)
    except ValueError:
        return False  # Ed25519
    return s > _ORDER // 2


@dataclass(frozen=True)
class Envelope:
    kind: str
    payload: bytes
    keyid: str
    signature: bytes
    one_form: bool

    @classmethod
    def read(cls, data: bytes) -> Envelope:
        value = parse(data)
        need(len(value["signatures"]) == 1, "an envelope has one signature")
        (signature,) = value["signatures"]
        plain = set(value) == {"payload", "payloadType", "signatures"} and set(signature) == {"keyid", "sig"}
        payload, made = unbase64(value["payload"]), unbase64(signature["sig"])
        one_form = plain and canonical(value) == data and not _is_larger_twin(made)
        return cls(value["payloadType"], payload, signature["keyid"], made, one_form)

    def check(self, key: PublicKey, kind: str) -> None:
        need(self.kind == kind and keyid_of(key) == self.keyid, "an envelope of another type, or by another key")
        head = f"DSSEv1 {len(kind)} {kind} {len(self.payload)} ".encode()
        check(key, head + self.payload, self.signature)


# Git ------------------------------------------------------------------------------------------------------------------


def object_id(kind: str, content: bytes, size: int) -> str:
    """The id of a Git object, of as many digits as `size` says."""
    data = f"{kind} {len(content)}\0".encode() + content
    return sha256(data) if size == 64 else hashlib.sha1(data, usedforsecurity=False).hexdigest()


def rows_of(tree: bytes, size: int) -> Iterator[tuple[str, str, str]]:
    """Yield name, mode and id of each row of a tree."""
    while tree:
        head, _, rest = tree.partition(b"\0")
        mode, _, name = head.partition(b" ")
        yield name.decode("utf-8", "surrogateescape"), mode.decode(), rest[: size // 2].hex()
        tree = rest[size // 2 :]


@dataclass(frozen=True)
class Commit:
    """`signed` is what a signature is made over, `armor` the signature."""

    tree: str
    parents: tuple[str, ...]
    message: bytes
    signed: bytes
    armor: str

    @classmethod
    def read(cls, data: bytes) -> Commit:
        head, _, message = data.partition(b"\n\n")
        kept: list[bytes] = []
        armor: list[bytes] = []
        for line in head.split(b"\n"):
            if line.startswith(b"gpgsig "):
                armor.append(line[7:])
            elif line.startswith(b" ") and armor and armor[-1] != _END.encode():
                armor.append(line[1:])
            else:
                kept.append(line)
        named = [line.decode("ascii", "replace").split(" ", 1) for line in kept]
        (tree,) = (line[1] for line in named if line[0] == "tree")
        parents = tuple(line[1] for line in named if line[0] == "parent")
        return cls(tree, parents, message, b"\n".join(kept) + b"\n\n" + message, b"\n".join(armor).decode())


def _strings(data: bytes) -> list[bytes]:
    found = []
    while data:
        size = int.from_bytes(data[:4], "big")
        need(len(data) >= 4 + size, "SSH's wire format is cut")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


def ssh_signer(commit: Commit) -> str:
    """Check the SSH signature of a commit by the key that it carries, and return that key's id."""
    lines = commit.armor.split("\n")
    need((lines[0], lines[-1]) == (_BEGIN, _END), "the commit has no SSH signature")
    blob = unbase64("".join(lines[1:-1]))
    need(blob[:10] == b"SSHSIG\0\0\0\1", "no SSH signature of version 1")
    public, namespace, reserved, algorithm, inner = _strings(blob[10:])
    need((namespace, reserved) == (b"git", b"") and algorithm in (b"sha256", b"sha512"), "not signed for Git")
    (kind, signature), parts = _strings(inner), _strings(public)
    need(kind == parts[0], "the signature is of another kind than its key")
    key: PublicKey
    if kind == b"ssh-ed25519":
        key = Ed25519PublicKey.from_public_bytes(parts[1])
    else:
        need(parts[:2] == [b"ecdsa-sha2-nistp256", b"nistp256"], "no key of ours")
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), parts[2])
        r, s = (int.from_bytes(part, "big") for part in _strings(signature))
        signature = encode_dss_signature(r, s)
    digest = hashlib.new(algorithm.decode(), commit.signed).digest()
    packed = [len(part).to_bytes(4, "big") + part for part in (b"git", b"", algorithm, digest)]
    check(key, b"SSHSIG" + b"".join(packed), signature)
    return keyid_of(key)
