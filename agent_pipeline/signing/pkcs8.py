"""How an encrypted PKCS #8 key derives its key from the passphrase: PBES2 with a costly PBKDF2 or scrypt, or refused.

Source: RFC 5958, RFC 8018 (PBES2), RFC 7914 (scrypt); OWASP password storage, 2023 (600,000 rounds).
"""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.hazmat import asn1

from agent_pipeline.signing.protection import WeakError

_PBKDF2_FEWEST, _PBKDF2_MOST = 600_000, 20_000_000
_SCRYPT_FEWEST, _SCRYPT_MOST = 16 << 20, 1 << 30  # bytes of memory for one try: 128 * N * r
_PARALLEL_MOST: Final = 16
_PBES2, _PBKDF2, _SCRYPT = "1.2.840.113549.1.5.13", "1.2.840.113549.1.5.12", "1.3.6.1.4.1.11591.4.11"
_SHA2: Final = tuple(f"1.2.840.113549.2.{number}" for number in (9, 10, 11))  # HMAC with SHA-256, -384, -512


@asn1.sequence
class _Algorithm:
    name: x509.ObjectIdentifier
    parameters: asn1.TLV


@asn1.sequence
class _Encrypted:
    algorithm: _Algorithm
    data: bytes


@asn1.sequence
class _Pbes2:
    kdf: _Algorithm
    cipher: _Algorithm


@asn1.sequence
class _Pbkdf2:
    salt: bytes
    rounds: int
    length: int | None
    function: _Algorithm | None


@asn1.sequence
class _Scrypt:
    salt: bytes
    cost: int
    block: int
    parallel: int
    length: int | None


def check(body: bytes) -> None:
    """Raise `WeakError` unless the key is protected well; `ValueError` for what is no such structure at all."""
    found = asn1.decode_der(_Encrypted, body).algorithm
    if found.name.dotted_string != _PBES2:
        raise WeakError("its encryption is older than PBES2: its key derivation is too weak")
    kdf = found.parameters.parse(_Pbes2).kdf
    if kdf.name.dotted_string == _PBKDF2:
        _pbkdf2(kdf.parameters.parse(_Pbkdf2))
    elif kdf.name.dotted_string == _SCRYPT:
        _scrypt(kdf.parameters.parse(_Scrypt))
    else:
        raise WeakError("its key derivation is neither PBKDF2 nor scrypt")


def _pbkdf2(cost: _Pbkdf2) -> None:
    if not _PBKDF2_FEWEST <= cost.rounds <= _PBKDF2_MOST:
        raise WeakError(
            f"its key derivation is PBKDF2 with {cost.rounds} rounds, at least {_PBKDF2_FEWEST} are wanted: "
            "a stolen file would be tried thousands of times a second"
        )
    if cost.function is None or cost.function.name.dotted_string not in _SHA2:
        raise WeakError("its key derivation is PBKDF2 with SHA-1, or with no hash that is known here")


def _scrypt(cost: _Scrypt) -> None:
    memory = 128 * cost.cost * cost.block
    if not _SCRYPT_FEWEST <= memory <= _SCRYPT_MOST or not 1 <= cost.parallel <= _PARALLEL_MOST:
        raise WeakError("its key derivation is scrypt with too little memory, or too much: 16 MiB to 1 GiB are taken")
