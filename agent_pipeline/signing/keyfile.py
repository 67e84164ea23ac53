"""Private keys at rest: OpenSSH files, readable by their owner alone, or the same text in a box, as CI has it.

Called in the signing child only: everything here handles key material.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from agent_pipeline.attestation import keys
from agent_pipeline.errors import StorageError, UsageError
from agent_pipeline.files import written_whole
from agent_pipeline.signing import places, protection

PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey

MAX_BYTES: Final = 64 * 1024
_OPENSSH: Final = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_MAKERS: Final[dict[str, Callable[[], PrivateKey]]] = {
    keys.ED25519: Ed25519PrivateKey.generate,
    keys.P256: lambda: ec.generate_private_key(ec.SECP256R1()),
}


def read(path: str) -> bytes:
    """Return the bytes of a file that only we can read, in a folder where nobody else can exchange it.

    Raises `UsageError` for any other, and for more bytes than a key has.
    """
    places.way(path)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be opened: {error.strerror}", hint="make a key with `agent-pipeline keys generate`"
        ) from error
    try:
        places.private(path, os.fstat(handle))
        data = os.read(handle, MAX_BYTES + 1)
    finally:
        os.close(handle)
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path} is no key: it has more than {MAX_BYTES} bytes", hint="name the key's file")
    return data


def load(data: bytes, name: str, passphrase: Callable[[], bytes]) -> PrivateKey:
    """Return the private key in `data`, called `name` in errors; `passphrase` is called for an encrypted one only.

    Raises `UsageError` for a weak encryption and for what does not open, `SignatureError` for other schemes than ours.
    """
    front = protection.front(data, name)
    secret = passphrase() if front.encrypted else None
    loader = load_ssh_private_key if data.lstrip().startswith(_OPENSSH) else load_pem_private_key
    try:
        private = loader(data, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm, NotImplementedError, InternalError) as error:
        # The last two are for a point in another form, and for scrypt's parameters.
        if secret is not None:
            raise UsageError(f"{name} does not open with this passphrase", hint="try again") from error
        raise UsageError(f"{name} is no readable private key", hint=protection.WHOLE) from error
    key = keys.key_from_public(private.public_key())
    if front.public not in (None, keys.openssh_blob(key)):
        raise UsageError(f"{name} carries the public half of another key", hint="make a new key; this file was changed")
    assert isinstance(private, PrivateKey)  # noqa: S101 - the line above refuses any other kind
    return private


def create(path: Path, comment: str, scheme: str, passphrase: bytes | None) -> None:
    """Make a key: `path` for its owner alone, `path`.pub beside it. Raises `UsageError` when either exists.

    With a passphrase it is encrypted by 64 rounds of bcrypt (about 0.4 s for each use).
    """
    private = _MAKERS[scheme]()
    line = keys.openssh_from_key(keys.key_from_public(private.public_key()), comment)
    text = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, _encryption(passphrase))
    public = Path(f"{path}.pub")
    if path.exists() or public.exists():
        raise UsageError(f"{path} or {public} already exists", hint="choose another name; keys are never overwritten")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        places.way(str(path.parent / "."))
        with written_whole(path, replace=False) as file:
            file.write(text)
        try:
            with written_whole(public, mode=0o644, replace=False) as file:
                file.write(line.encode() + b"\n")
        except OSError:
            path.unlink()
            raise
    except FileExistsError as error:
        raise UsageError(
            f"{error.filename2 or error.filename} already exists", hint="keys are never overwritten"
        ) from error
    except OSError as error:
        raise StorageError(f"the key cannot be written to {path}: {error.strerror}") from error


def _encryption(passphrase: bytes | None) -> KeySerializationEncryption:
    if not passphrase:
        return NoEncryption()
    return PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(protection.OUR_ROUNDS).build(passphrase)
