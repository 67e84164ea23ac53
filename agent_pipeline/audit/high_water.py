"""The protected branch as the high-water mark of the log: every merge names the head that the log had then.

A log that does not hold that head was rewound, forked or replaced since, by somebody who may push its ref.
"""

from __future__ import annotations

import re
from typing import Final

from agent_pipeline.audit.log import Log
from agent_pipeline.errors import SignatureError
from agent_pipeline.repository.landed import Desk

_MARK: Final = re.compile(r"^Agent-Pipeline-Log: ([0-9a-f]{40,64})$", re.MULTILINE)
_LOOKED_AT: Final = 10_000  # commits of the protected branch, newest first


def mark(desk: Desk) -> str | None:
    """Return the log's head as the newest merge on the protected branch names it, None when there was no merge."""
    at = desk.tip(desk.landed.anchor.branch)
    for _ in range(_LOOKED_AT):
        if at is None:
            return None
        found = _MARK.search(desk.clone.message(at))
        if found is not None:
            return found[1]
        at = next(iter(desk.clone.parents(at)), None)
    return None


def check(desk: Desk, log: Log) -> None:
    """Raise `SignatureError` when the log does not hold what the protected branch says that it held."""
    named = mark(desk)
    if named is not None and named not in {entry.commit for entry in log.entries}:
        raise SignatureError(
            f"the log was rewound or replaced: {desk.landed.anchor.branch} names its entry {named[:12]}, which is gone",
            hint="restore refs/agent-pipeline/log from another clone, and find out who moved it",
        )
