"""Finding the key that a person means, among those that the trust root knows."""

from __future__ import annotations

import re
from typing import Final

from agent_pipeline.attestation import keys
from agent_pipeline.documents.root import Key, Person, TrustRoot
from agent_pipeline.errors import UsageError

_PREFIX: Final = 8  # digits; fewer name a key by chance


def find_key(root: TrustRoot, text: str) -> Key:
    """Return the key with the fingerprint or the id `text` (8 digits and more), one that ended too.

    Raises `UsageError` when there is none, or several.
    """
    known = {key.keyid: key for key in (*root.keys, *(grant.key for grant in root.former))}
    if re.fullmatch(rf"[0-9a-f]{{{_PREFIX},64}}", text) is not None:
        found = [key for keyid, key in known.items() if keyid.startswith(text)]
    else:
        found = [key for key in known.values() if keys.fingerprint(key) == text]
    if len(found) != 1:
        raise UsageError(
            f"{len(found) or 'no'} keys of this trust root are called {text[:80]!r}",
            hint="give a fingerprint as `agent-pipeline trust show` prints it: SHA256:...",
        )
    return found[0]


def one_key_of(person: Person, root: TrustRoot, text: str | None) -> str | None:
    """Return the id of the person's key that `text` means, of the only one without it; None for none at all."""
    if text is not None:
        return find_key(root, text).keyid
    if len(person.keys) > 1:
        listed = ", ".join(keys.fingerprint(key) for key in root.keys if key.keyid in person.keys)
        raise UsageError(f"{person.name} has several keys: {listed}", hint="say which one with --key")
    return person.keys[0] if person.keys else None
