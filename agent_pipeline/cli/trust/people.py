"""The people of a trust root with their roles and the fingerprints to compare: as JSON, and as lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agent_pipeline.attestation import keys
from agent_pipeline.documents.root import TrustRoot


def people_of(root: TrustRoot) -> list[dict[str, Any]]:
    """Return everybody in `root`."""
    return [
        {
            "name": person.name,
            "roles": list(person.roles),
            "bot": person.bot,
            "keys": [keys.fingerprint(key) for key in root.keys if key.keyid in person.keys],
        }
        for person in root.people
    ]


def told(people: Iterable[dict[str, Any]]) -> list[str]:
    """Return what `people_of` returned as lines."""
    lines = []
    for person in people:
        lines.append(f"{person['name']:<16} {', '.join(person['roles'])}{' (bot)' if person['bot'] else ''}")
        lines += [f"{'':<16} {key}" for key in person["keys"] or ["(no key)"]]
    return lines
