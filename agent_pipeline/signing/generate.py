"""Making keys."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agent_pipeline.attestation import keys
from agent_pipeline.documents.root import Key
from agent_pipeline.signing import boxes, child, handover


@dataclass(frozen=True, slots=True)
class Made:
    """A new key: its public half, and whether its file is encrypted."""

    key: Key
    encrypted: bool


def generate(path: Path, comment: str, scheme: str = keys.ED25519, *, protect: bool = False) -> Made:
    """Make a key in OpenSSH's format: `path` with mode 0600, `path`.pub beside it.

    It is encrypted when AGENT_PIPELINE_KEY_PASSPHRASE is set, or with `protect` when a passphrase is typed. Raises
    `UsageError` when either file exists, `StorageError` when they cannot be written.
    """
    given = handover.passphrase_box()
    document = {"generate": str(path.absolute()), "comment": comment, "scheme": scheme, "protect": protect}
    answer = child.ask(
        document, box=boxes.new() if given is None else given, given="" if given is None else handover.PASSPHRASE
    )
    return Made(keys.key_from_openssh(Path(f"{path}.pub").read_text(encoding="utf-8")), bool(answer["encrypted"]))
