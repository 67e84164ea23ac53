"""Making keys, and listing those that are there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agent_pipeline.attestation import keys
from agent_pipeline.documents.root import Key
from agent_pipeline.signing import child


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A private key's path, its public half and the comment that stands beside it."""

    path: Path
    key: Key
    comment: str


def generate(path: Path, comment: str) -> Key:
    """Make an Ed25519 key in OpenSSH's format: `path` with mode 0600, `path`.pub beside it. Return the public half.

    It is encrypted when AGENT_PIPELINE_KEY_PASSPHRASE is set. Raises `UsageError` when either file exists,
    `StorageError` when they cannot be written.
    """
    child.ask({"generate": str(path.absolute()), "comment": comment})
    return keys.key_from_openssh(Path(f"{path}.pub").read_text(encoding="utf-8"))


def list_keys(folder: Path) -> tuple[KeyFile, ...]:
    """Return the keys of `folder` that have their public half beside them, by name; none when there is no folder.

    Raises `UsageError` for a `.pub` file that is none.
    """
    found = []
    for public in sorted(folder.glob("*.pub")) if folder.is_dir() else ():
        private = public.with_suffix("")
        if private.is_file():
            line = public.read_text(encoding="utf-8")
            found.append(KeyFile(private, keys.key_from_openssh(line), " ".join(line.split()[2:])))
    return tuple(found)
