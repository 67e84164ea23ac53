"""DSSE v1.0.2, the part that decides: what is signed, and whether one signature holds.

Strict where libraries are not: exactly one signature, one key that the caller chose from the trust root, its scheme and
none that the envelope asks for, the payload type compared byte for byte. What comes back are the bytes that were
verified; callers parse those and nothing else.

Source: https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md.
"""

from __future__ import annotations

from agent_pipeline.attestation import keys
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.root import Key
from agent_pipeline.errors import SchemaError, SignatureError


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding: the bytes that are signed.

    Raises `SchemaError` for a type that is not ASCII: implementations count its length differently.
    """
    try:
        kind = payload_type.encode("ascii")
    except UnicodeEncodeError as error:
        raise SchemaError("a payload type is written in ASCII") from error
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def check(envelope: Envelope, key: Key, payload_type: str) -> bytes:
    """Return the payload of `envelope` once `key` is known to have signed it as `payload_type`.

    Raises `SignatureError`.
    """
    if envelope.payload_type != payload_type:
        raise SignatureError(f"the envelope carries {envelope.payload_type[:80]!r}, not {payload_type!r}")
    if envelope.keyid != key.keyid:
        raise SignatureError(f"the envelope names key {envelope.keyid[:8]}, not {key.keyid[:8]}")
    keys.check_signature(key, pae(envelope.payload_type, envelope.payload), envelope.signature, "the envelope")
    return envelope.payload
