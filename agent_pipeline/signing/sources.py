"""What names a private key: a file, the environment's text, a key of the ssh-agent, or one on a PKCS #11 token.

`AGENT_PIPELINE_KEY` says which: `agent:SHA256:...` (the fingerprint, as `ssh-add -l` prints it), `pkcs11:...` (a URI of
RFC 7512), a key's text, or a path. Nothing is opened here.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from agent_pipeline.documents.form import to_plain
from agent_pipeline.errors import UsageError
from agent_pipeline.signing import boxes, handover, pkcs11_uri

AGENT: Final = "agent:"
_MODULE: Final = "AGENT_PIPELINE_PKCS11_MODULE"
FILE, BOX, SSH_AGENT, TOKEN = "file", "box", "agent", "token"


@dataclass(frozen=True, slots=True)
class Source:
    """One private key's name. `at` is a path, a descriptor, a fingerprint or a URI, by `store`."""

    store: str
    at: str

    @property
    def name(self) -> str:
        """What people read in errors; never a secret."""
        return "the key in AGENT_PIPELINE_KEY" if self.store == BOX else self.at

    def to_plain(self) -> dict[str, Any]:
        """Return the JSON form, for the signing child."""
        plain: dict[str, Any] = to_plain(self)
        return plain


def parse(text: str) -> Source:
    """Read a key's name. Raises `UsageError` for one that no store can have."""
    if handover.is_text(text):
        return Source(BOX, str(boxes.new(text.strip().encode(errors="surrogateescape") + b"\n")))
    if text.startswith(handover.BOX):
        at = text.removeprefix(handover.BOX)
        if handover.handle(at) is None:
            raise UsageError(f"{text[:20]!a} names no key", hint="give a path, agent:SHA256:..., or pkcs11:...")
        return Source(BOX, at)
    if text.startswith(AGENT):
        return Source(SSH_AGENT, _fingerprint(text.removeprefix(AGENT)))
    if text.startswith(pkcs11_uri.SCHEME):
        uri = pkcs11_uri.read(text)
        return Source(TOKEN, replace(uri, module=uri.module or module()).text())
    return Source(FILE, str(Path(text).expanduser().absolute()))


def module() -> str | None:
    """Return the path of the PKCS #11 module for URIs that name none, or None."""
    return os.environ.get(_MODULE) or None


def _fingerprint(text: str) -> str:
    if re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}", text) is None:
        raise UsageError(
            f"{text[:60]!a} is no fingerprint of a key in the ssh-agent",
            hint="AGENT_PIPELINE_KEY=agent:SHA256:..., as `agent-pipeline keys list` and `ssh-add -l` print it",
        )
    return text
