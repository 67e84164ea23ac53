"""The shared log `refs/agent-pipeline/log`: one commit per entry, each holding one signed envelope.

Reading gives bytes in order and believes nothing: `verify.log` checks chain, signatures and roles. Appending makes a
commit and moves no ref: the caller publishes it together with everything else that the entry is about, with a lease on
the head that it read.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final

from agent_pipeline.documents import moments
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.statement import Statement
from agent_pipeline.documents.strict import MAX_BYTES
from agent_pipeline.errors import SignatureError
from agent_pipeline.repository import commits, remotes, trees
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.records import LOG
from agent_pipeline.repository.trees import Put

FILE: Final = "entry.dsse.json"
MODE: Final = "100644"
MAX_ENTRIES: Final = 1_000_000
_NAME, _EMAIL = "agent-pipeline", "log@agent-pipeline.invalid"


@dataclass(frozen=True, slots=True)
class LoggedEntry:
    """One entry's envelope as found, and the commit that holds it."""

    envelope: bytes
    commit: str


@dataclass(frozen=True, slots=True)
class Log:
    """All entries, oldest first; `head` is the newest one's commit, None for an empty log."""

    entries: tuple[LoggedEntry, ...]
    head: str | None

    @property
    def envelopes(self) -> tuple[bytes, ...]:
        """The envelopes alone, as verifiers want them."""
        return tuple(entry.envelope for entry in self.entries)


def read(clone: Clone, remote: str | None) -> Log:
    """Return the log as the remote has it (this clone's own without one).

    Raises `SignatureError` when it is not a single chain of commits that each hold one entry, `GitError` when objects
    are missing.
    """
    name = remotes.tracking(remote, LOG)
    head = clone.ref(name)
    if head is None and clone.objects.references.get(name) is not None:
        raise SignatureError(f"{name} does not point to a commit: this is no log, and not an empty one either")
    found: list[LoggedEntry] = []
    at = head
    while at is not None:
        if len(found) >= MAX_ENTRIES:
            raise SignatureError(f"the log has more than {MAX_ENTRIES} entries")
        found.append(LoggedEntry(_envelope(clone, at), at))
        parents = clone.parents(at)
        if len(parents) > 1:
            raise SignatureError(f"the log forks at {at[:12]}: an entry has one predecessor")
        at = parents[0] if parents else None
    return Log(tuple(reversed(found)), head)


def _envelope(clone: Clone, commit: str) -> bytes:
    held = list(islice(trees.entries(clone, clone.tree(commit)), 2))
    if [(entry.path, entry.mode) for entry in held] != [(FILE.encode(), MODE)]:
        raise SignatureError(f"the log's commit {commit[:12]} does not hold exactly one {FILE}")
    if clone.size(held[0].oid) > MAX_BYTES:
        raise SignatureError(f"the log's commit {commit[:12]} holds an entry of more than {MAX_BYTES} bytes")
    return clone.blob(held[0].oid)


def append(clone: Clone, log: Log, envelope: bytes) -> str:
    """Return a new commit that holds `envelope` after the head of `log`. No ref moves.

    Raises `SchemaError` when the envelope holds no log entry.
    """
    entry = LogEntry.from_statement(Statement.from_json(Envelope.from_json(envelope).payload))
    empty = str(clone.objects.TreeBuilder().write())
    about = f" {entry.request}" if entry.request is not None else ""
    draft = commits.draft(
        clone,
        trees.build(clone, empty, {FILE: Put(envelope, MODE)}),
        [log.head] if log.head is not None else [],
        f"{entry.index} {entry.event}{about}\n",
        _NAME,
        _EMAIL,
        moments.parse(entry.created),
    )
    return commits.write(clone, draft, None)
