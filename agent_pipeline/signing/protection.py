"""How a private key file is encrypted, read from its unencrypted front; weak ways are refused before they are used.

A passphrase protects a stolen file for as long as trying one costs. OpenSSH's format has bcrypt with a number of rounds
(ours: 64, about 0.4 s a try on one core); PKCS #8 has whatever its writer chose: PBKDF2 with 2048 rounds, as several
tools write it, is tried thousands of times a second, and the traditional PEM encryption is one round of MD5.

Source: OpenSSH, PROTOCOL.key.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from agent_pipeline.attestation.wire import Reader
from agent_pipeline.errors import SchemaError, UsageError

OUR_ROUNDS: Final = 64
FEWEST_ROUNDS: Final = 16  # what ssh-keygen has written by default since 2013
PLAIN: Final = "not encrypted: whoever reads the file has the key"
ENCRYPTS: Final = (
    f"`ssh-keygen -p -a {OUR_ROUNDS} -f FILE` encrypts it; `agent-pipeline keys generate NAME --passphrase` makes one "
    "that is"
)
_MOST_ROUNDS: Final = 1024
WHOLE: Final = "an OpenSSH private key is expected, whole: from its line of BEGIN to its line of END"
_MAGIC: Final = b"openssh-key-v1\0"


class WeakError(Exception):
    """The reason why an encryption is refused."""


@dataclass(frozen=True, slots=True)
class Front:
    """What can be read of a key file without a passphrase: whether one is wanted, and OpenSSH's public half."""

    encrypted: bool
    public: bytes | None = None


def front(data: bytes, name: str) -> Front:
    """Return what the key file `data`, called `name`, says of itself.

    Raises `UsageError` for what is no private key in PEM, and for an encryption that is too weak or cannot be judged.
    """
    try:
        kind, body = _pem(data)
        if kind == "OPENSSH PRIVATE KEY":
            return _openssh(body)
        if kind == "ENCRYPTED PRIVATE KEY":
            from agent_pipeline.signing import pkcs8  # noqa: PLC0415 - rare, and as slow to import as all the rest

            pkcs8.check(body)
            return Front(encrypted=True)
    except WeakError as error:
        raise UsageError(
            f"{name}: {error}", hint=f"encrypt it anew: ssh-keygen -p -a {OUR_ROUNDS} -f FILE; or make a new key"
        ) from error
    except (ValueError, SchemaError) as error:
        raise UsageError(f"{name} is no readable private key: {error}", hint=WHOLE) from error
    if kind not in ("PRIVATE KEY", "EC PRIVATE KEY"):
        raise UsageError(f"{name} is no readable private key", hint=WHOLE)
    return Front(encrypted=False)


def _pem(data: bytes) -> tuple[str, bytes]:
    match = re.fullmatch(rb"\s*-----BEGIN ([A-Z ]{1,40})-----\r?\n(.*?)-----END \1-----\s*", data, re.DOTALL)
    if match is None:
        return "", b""
    if b"Proc-Type:" in match[2]:
        raise WeakError("its encryption is the traditional one of PEM: one round of MD5 is no protection")
    try:
        return match[1].decode("ascii"), base64.b64decode(b"".join(match[2].split()), validate=True)
    except binascii.Error as error:
        raise ValueError("what it holds is not base64") from error


def _openssh(body: bytes) -> Front:
    reader = Reader(body, "the private key")
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise SchemaError("it is no OpenSSH private key")
    cipher, kdf, options = reader.string(), reader.string(), Reader(reader.string(), "the private key")
    if reader.uint32() != 1:
        raise SchemaError("it holds more than one key, or none")
    public = reader.string()
    if (cipher, kdf) == (b"none", b"none"):
        return Front(encrypted=False, public=public)
    if kdf != b"bcrypt":
        raise WeakError(f"its key derivation {kdf[:20]!a} is not bcrypt")
    options.string()
    rounds = options.uint32()
    if not FEWEST_ROUNDS <= rounds <= _MOST_ROUNDS:
        raise WeakError(
            f"its key derivation has {rounds} rounds of bcrypt; {FEWEST_ROUNDS} to {_MOST_ROUNDS} are taken"
        )
    return Front(encrypted=True, public=public)
