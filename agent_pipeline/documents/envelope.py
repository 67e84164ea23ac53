"""The JSON form of a DSSE envelope (v1.0.2), with exactly one signature. `attestation` signs and verifies it.

Source: https://github.com/secure-systems-lab/dsse/blob/v1.0.2/envelope.md.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

from agent_pipeline.documents import schema, strict
from agent_pipeline.errors import SchemaError
from agent_pipeline.frozen import frozen

STEM: Final = "envelope"
# What is signed, and by whom: members beside these are read over, and written by nobody.
_MEMBERS: Final = {"payloadType", "payload", "signatures"}
_SIGNATURE_MEMBERS: Final = {"keyid", "sig"}
_HEAD: Final = b'{"payload":"'
# What follows the payload in what `to_json` writes, within the schema: a type without anything that JSON would escape.
_TAIL: Final = re.compile(
    rb'","payloadType":"([!#-\[\]-~]{1,200})","signatures":\[\{"keyid":"([0-9a-f]{64})","sig":"([^"]{1,1000})"\}\]\}'
)


@frozen
class Envelope:
    """Opaque `payload` bytes of `payload_type`, and one `signature` by a key that calls itself `keyid` (a hint)."""

    payload_type: str
    payload: bytes
    keyid: str
    signature: bytes

    def to_json(self) -> bytes:
        """Return the canonical envelope."""
        return strict.canonical(
            {
                "payloadType": self.payload_type,
                "payload": base64.b64encode(self.payload).decode("ascii"),
                "signatures": [{"keyid": self.keyid, "sig": base64.b64encode(self.signature).decode("ascii")}],
            }
        )

    @classmethod
    def from_json(cls, data: bytes) -> Envelope:
        """Read strictly: exactly one signature, standard base64 with padding. Raises `SchemaError`."""
        return _as_written(data) or _envelope(strict.parse(data, what="the envelope"))

    @classmethod
    def from_one_form(cls, data: bytes) -> Envelope | None:
        """Read what `to_json` writes, None for an envelope in any other form. Raises `SchemaError` as `from_json`."""
        if written := _as_written(data):
            return written
        value, canonical = strict.parse_with_form(data, what="the envelope")
        envelope = _envelope(value)
        known = value.keys() == _MEMBERS and value["signatures"][0].keys() == _SIGNATURE_MEMBERS
        return envelope if canonical and known else None


def _as_written(data: bytes) -> Envelope | None:
    """Read what `to_json` writes by its few fixed bytes, None for whatever is not that: the strict reader's to judge.

    Every document comes in one; nearly all are in this form, which leaves that reader nothing to find.
    """
    end = data.find(b'"', len(_HEAD))
    tail = _TAIL.fullmatch(data, end) if end > 0 and data.startswith(_HEAD) and len(data) <= strict.MAX_BYTES else None
    if tail is None:
        return None
    payload, signature = _standard(data[len(_HEAD) : end]), _standard(tail[3])
    if payload is None or signature is None:
        return None
    return Envelope(tail[1].decode("ascii"), payload, tail[2].decode("ascii"), signature)


def _standard(text: bytes) -> bytes | None:
    """Return what standard base64 says, None for anything else. One text for one content: no stray bits."""
    try:
        data = binascii.a2b_base64(text)
    except ValueError:
        return None
    return data if binascii.b2a_base64(data, newline=False) == text else None


def _envelope(value: Any) -> Envelope:  # noqa: ANN401 - any JSON value
    schema.validate(STEM, value)
    signature = value["signatures"][0]
    return Envelope(
        value["payloadType"],
        _decode(value["payload"], "payload"),
        signature["keyid"],
        _decode(signature["sig"], "signature"),
    )


def _decode(text: str, what: str) -> bytes:
    try:
        data = binascii.a2b_base64(text)
    except ValueError as error:
        raise SchemaError(f"the envelope's {what} is not base64: {error}") from error
    # One text for one content: nothing skipped, no stray bits.
    if binascii.b2a_base64(data, newline=False).decode("ascii") != text:
        raise SchemaError(f"the envelope's {what} is not standard base64, or has stray bits")
    return data
