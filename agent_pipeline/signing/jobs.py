"""What the parent and the signing child say to each other: one JSON document each way, on stdin and stdout."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Final

from agent_pipeline.attestation import dsse, sshsig

MAX_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class DsseJob:
    """Sign `payload` as `payload_type`, in a DSSE envelope."""

    payload_type: str
    payload: bytes

    def message(self) -> bytes:
        """Return the bytes that are signed."""
        return dsse.pae(self.payload_type, self.payload)

    def to_plain(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"do": "dsse", "type": self.payload_type, "data": base64.b64encode(self.payload).decode("ascii")}


@dataclass(frozen=True, slots=True)
class SshJob:
    """Sign `content` (a commit without its signature) as OpenSSH signs for `namespace`."""

    content: bytes
    namespace: str = sshsig.GIT

    def message(self) -> bytes:
        """Return the bytes that are signed."""
        return sshsig.blob_to_sign(self.content, self.namespace)

    def to_plain(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"do": "ssh", "type": self.namespace, "data": base64.b64encode(self.content).decode("ascii")}


Job = DsseJob | SshJob


def from_plain(value: dict[str, Any]) -> Job:
    """Read what `to_plain` writes. The other side is our own parent; anything else is a defect and raises."""
    data = base64.b64decode(value["data"], validate=True)
    return DsseJob(value["type"], data) if value["do"] == "dsse" else SshJob(data, value["type"])
