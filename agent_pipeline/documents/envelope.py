"""The JSON form of a DSSE envelope (v1.0.2), with exactly one signature. `attestation` signs and verifies it.

Source: https://github.com/secure-systems-lab/dsse/blob/v1.0.2/envelope.md.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from agent_pipeline.documents import schema, strict
from agent_pipeline.errors import SchemaError

STEM: Final = "envelope"


@dataclass(frozen=True, slots=True)
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
        value = strict.parse(data, what="the envelope")
        schema.validate(STEM, value)
        signature = value["signatures"][0]
        return cls(
            value["payloadType"],
            _decode(value["payload"], "payload"),
            signature["keyid"],
            _decode(signature["sig"], "signature"),
        )


def plain(data: bytes) -> bytes:
    """Return the one form of the envelope in `data`. Raises `SchemaError`.

    Members that nobody knows, white space and order are not signed: anybody can write an envelope in endless ways.
    What counts envelopes by their bytes must ask for this form.
    """
    return Envelope.from_json(data).to_json()


def _decode(text: str, what: str) -> bytes:
    try:
        data = binascii.a2b_base64(text)
    except ValueError as error:
        raise SchemaError(f"the envelope's {what} is not base64: {error}") from error
    if base64.b64encode(data).decode("ascii") != text:  # one text for one content: nothing skipped, no stray bits
        raise SchemaError(f"the envelope's {what} is not standard base64, or has stray bits")
    return data
