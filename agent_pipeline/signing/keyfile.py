"""Private keys at rest: OpenSSH files (or PEM text, for CI), readable by their owner alone.

`check_file` looks at a file's owner and mode and reads nothing; `load` and `create` handle key material and are called
in the signing child only.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
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
from agent_pipeline.signing.jobs import PASSPHRASE

PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey

MAX_BYTES: Final = 64 * 1024
KDF_ROUNDS: Final = 64
_OTHERS: Final = 0o077
_ARMOR: Final = "-----BEGIN "
_OPENSSH: Final = b"-----BEGIN OPENSSH PRIVATE KEY-----"


def is_text(source: str) -> bool:
    """Return whether `source` is a key's text rather than the path of its file."""
    return source.lstrip().startswith(_ARMOR)


def check_file(path: str, found: os.stat_result) -> None:
    """Raise `UsageError` unless the file is a regular one that only its owner, who is us, can read."""
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{path} is no regular file", hint="name the file that holds your private key")
    if found.st_uid not in (os.geteuid(), 0):
        raise UsageError(f"{path} belongs to another user", hint="use a key file of your own")
    if found.st_mode & _OTHERS:
        raise UsageError(
            f"{path} can be read or changed by others (mode {stat.S_IMODE(found.st_mode):04o})",
            hint=f"chmod 600 {path} - and if others were on this machine meanwhile, make a new key",
        )


def read(source: str) -> bytes:
    """Return the bytes of the key `source` (a path, or the text itself). Raises `UsageError`."""
    if is_text(source):
        return source.strip().encode() + b"\n"
    try:
        handle = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise UsageError(
            f"the key {source} cannot be opened: {error.strerror}",
            hint="make one with `agent-pipeline keys generate`",
        ) from error
    try:
        check_file(source, os.fstat(handle))
        return os.read(handle, MAX_BYTES)
    finally:
        os.close(handle)


def load(source: str, passphrase: str | None) -> PrivateKey:
    """Return the private key `source`. Raises `UsageError`, `SignatureError` for other schemes than ours."""
    name = "the key in AGENT_PIPELINE_KEY" if is_text(source) else source
    data = read(source)
    loader = load_ssh_private_key if data.lstrip().startswith(_OPENSSH) else load_pem_private_key
    try:
        private = loader(data, passphrase.encode() if passphrase else None)
    except TypeError as error:
        if passphrase:  # PEM loaders refuse a passphrase that is not needed: the key at hand is what was meant
            return load(source, None)
        raise UsageError(f"{name} is encrypted", hint=f"put its passphrase into {PASSPHRASE}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        if passphrase:
            raise UsageError(f"{name} does not open", hint=f"is {PASSPHRASE} its passphrase?") from error
        hint = f"an OpenSSH private key is expected; an encrypted one wants its passphrase in {PASSPHRASE}"
        raise UsageError(f"{name} is no readable private key", hint=hint) from error
    keys.key_from_public(private.public_key())
    assert isinstance(private, PrivateKey)  # noqa: S101 - the line above refuses any other kind
    return private


def create(path: Path, comment: str, passphrase: str | None) -> None:
    """Make an Ed25519 key: `path` for its owner alone, `path`.pub beside it. Raises `UsageError` when either exists."""
    private = Ed25519PrivateKey.generate()
    line = keys.openssh_from_key(keys.key_from_public(private.public_key()), comment)
    text = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, _encryption(passphrase))
    public = Path(f"{path}.pub")
    if path.exists() or public.exists():
        raise UsageError(f"{path} or {public} already exists", hint="choose another name; keys are never overwritten")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(path, text, 0o600)
        try:
            _write_new(public, line.encode() + b"\n", 0o644)
        except OSError:
            path.unlink()
            raise
    except FileExistsError as error:
        raise UsageError(f"{error.filename} already exists", hint="keys are never overwritten") from error
    except OSError as error:
        raise StorageError(f"the key cannot be written to {path}: {error.strerror}") from error


def _encryption(passphrase: str | None) -> KeySerializationEncryption:
    if not passphrase:
        return NoEncryption()
    builder = PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(KDF_ROUNDS)
    return builder.build(passphrase.encode())


def _write_new(path: Path, data: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, mode)
            file.write(data)
            file.flush()
            os.fsync(handle)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
