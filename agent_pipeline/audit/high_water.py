"""How far the log has been seen to go: by the protected branch, and by this clone.

Every merge names the head that the log had then, and every clone keeps the newest head that it found whole. A log that
does not hold both was rewound, forked or replaced since, by somebody who may push its ref.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Final

from agent_pipeline.attestation import sshsig
from agent_pipeline.audit.log import Log
from agent_pipeline.errors import GitError, RejectedError, SignatureError
from agent_pipeline.repository import commits, refs
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.refs import RefUpdate

_MARK: Final = re.compile(r"^Agent-Pipeline-Log: ([0-9a-f]{40,64})$", re.MULTILINE)
_LOOKED_AT: Final = 10_000  # commits of the protected branch, newest first


def mark(desk: Desk, held: Mapping[str, int]) -> str | None:
    """Return the log's head as the newest merge on the protected branch names it, None when there was no merge.

    Only what a merger signed is a merge: anybody's commit message can say the same. `held` are the log's commits with
    their indexes: a merge is judged at the index of the entry that it names.
    """
    at = desk.tip(desk.landed.anchor.branch)
    for _ in range(_LOOKED_AT):
        if at is None:
            return None
        found = _MARK.search(desk.clone.message(at))
        if found is not None and _by_merger(desk, at, held.get(found[1])):
            return found[1]
        at = next(iter(desk.clone.parents(at)), None)
    return None


def _by_merger(desk: Desk, commit: str, index: int | None) -> bool:
    """Say whether a merger signed `commit`, which names the log's entry `index` (None: one that the log lacks).

    Where the entry is gone nothing says when it was made: whoever was a merger in good order counts then, so that a
    log cannot be rewound behind the merges of people who left.
    """
    signed = commits.signature_of(desk.clone, commit)
    if signed is None:
        return False
    payload, armored = signed
    try:
        keyid = sshsig.read(armored).key.keyid
        key, owner = desk.landed.root.known(keyid), desk.landed.root.speaker(keyid, index)
        left = [grant.roles for grant in desk.landed.root.ended(keyid) if index is None and not grant.revoked]
        roles = {*(owner.roles if owner is not None else ()), *(role for group in left for role in group)}
        if key is None or "merger" not in roles:
            return False
        sshsig.verify(payload, armored, key)
    except RejectedError:
        return False
    return True


def check(desk: Desk, log: Log) -> None:
    """Raise `SignatureError` when the log does not hold what the protected branch or this clone has seen of it."""
    held = {entry.commit: index for index, entry in enumerate(log.entries)}
    named = mark(desk, held)
    if named is not None and named not in held:
        raise SignatureError(
            f"the log was rewound or replaced: {desk.landed.anchor.branch} names its entry {named[:12]}, which is gone",
            hint="restore refs/agent-pipeline/log from another clone, and find out who moved it",
        )
    seen = _seen(desk)
    if seen is not None and seen not in held:
        raise SignatureError(
            f"the log was rewound or replaced: this clone has seen its entry {seen[:12]}, which is gone",
            hint=f"find out who moved it; to put it back: git push {desk.remote} {seen}:refs/agent-pipeline/log "
            f"(or, if it is right as it is: git update-ref -d {_name(desk)})",
        )


def remember(desk: Desk, head: str | None) -> None:
    """Keep the head of a log whose chain and signatures were found to hold, or that was just published."""
    if desk.remote is not None and head is not None and (seen := _seen(desk)) != head:
        with contextlib.suppress(RejectedError, GitError):  # another command here was quicker
            refs.update(desk.clone, [RefUpdate(_name(desk), seen, head)])


def _seen(desk: Desk) -> str | None:
    return desk.clone.ref(_name(desk)) if desk.remote is not None else None


def _name(desk: Desk) -> str:
    return f"refs/agent-pipeline-seen/{desk.remote}/log"
