"""Which records this clone has seen on the remote: one that is taken away or cut is missed, named by the log or not.

Kept is the newest step that was seen of every request that somebody made, as a ref of this clone alone. So its objects
stay here too, and what was taken away can be put back.
"""

from __future__ import annotations

import contextlib

from agent_pipeline.audit import asked
from agent_pipeline.errors import GitError, RejectedError
from agent_pipeline.repository import growth, refs, remotes
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.records import REQUESTS, Record, is_id
from agent_pipeline.repository.refs import RefUpdate


def seen(desk: Desk) -> dict[str, str]:
    """Return the newest step that this clone has seen of each record, by id; nothing without a remote."""
    return _below(prefix(desk), refs.listed(desk.clone, prefix(desk))) if desk.remote is not None else {}


def prefix(desk: Desk) -> str:
    """Return what the names of the marks begin with."""
    return f"refs/agent-pipeline-seen/{desk.remote}/requests/"


def remember(desk: Desk) -> None:
    """Keep what the remote has now, as far as it continues what was seen before; after a fetch.

    What nobody asked for is not kept: whoever may push it can have it, and it may be deleted.
    """
    if desk.remote is None:
        return
    tracked = remotes.tracking(desk.remote, REQUESTS)
    every = refs.listed(desk.clone, prefix(desk), tracked)
    before, there = _below(prefix(desk), every), _below(tracked, every)
    new = {request: tip for request, tip in there.items() if before.get(request) != tip}
    moved = {request: tip for request, tip in new.items() if _continues(desk, request, before.get(request), tip)}
    updates = [RefUpdate(prefix(desk) + request, before.get(request), tip) for request, tip in moved.items()]
    with contextlib.suppress(RejectedError, GitError):  # another command here was quicker
        refs.update(desk.clone, updates)


def _below(folder: str, every: dict[str, str]) -> dict[str, str]:
    found = {name.removeprefix(folder): oid for name, oid in every.items() if name.startswith(folder)}
    return {request: oid for request, oid in found.items() if is_id(request)}


def _continues(desk: Desk, request: str, before: str | None, tip: str) -> bool:
    if desk.tip(REQUESTS + request) != tip:
        return False  # no commit
    try:
        if before is not None:
            return growth.grew(desk.clone, before, tip)
        asked.check(Record(request, tip, desk.clone), desk.landed.root, None)
    except (RejectedError, GitError):
        return False
    return True
