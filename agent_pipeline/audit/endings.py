"""What the trust root says of ended keys, and whether the log knows it.

The trust root alone decides below which index a key counts. The log's own entry about it, `revoked` or `retired`, says
when everybody who appends could know: whoever appends after it by that key has broken the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agent_pipeline.documents.log_entry import ENDINGS, LogEntry
from agent_pipeline.documents.root import TrustRoot


@dataclass(frozen=True, slots=True)
class Ending:
    """Keys that end together: the log's event, their ids, the first index that they do not speak for, their owners."""

    event: str
    keys: tuple[str, ...]
    since: int
    names: tuple[str, ...]


def unlogged(root: TrustRoot, entries: Iterable[LogEntry]) -> tuple[Ending, ...]:
    """Return the ends of keys that `root` has and `entries` do not name, those that end together as one."""
    known = {
        (entry.event, keyid, entry.since) for entry in entries if entry.event in ENDINGS for keyid in entry.keys or ()
    }
    groups: dict[tuple[str, int], list[str]] = {}
    for keyid in sorted({grant.keyid for grant in root.former}):
        grants = root.ended(keyid)
        event, since = ("revoked" if grants[0].revoked else "retired"), max(grant.until for grant in grants)
        if (event, keyid, since) not in known:
            groups.setdefault((event, since), []).append(keyid)
    return tuple(
        Ending(event, tuple(keyids), since, tuple(sorted({root.ended(keyid)[0].owner for keyid in keyids})))
        for (event, since), keyids in groups.items()
    )
