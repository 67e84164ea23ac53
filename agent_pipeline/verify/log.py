"""The shared log: an unbroken chain of entries, each signed by who could say so at its place in the log.

The newest trust root says for which part of the log a key speaks. An entry after a key's end is void when the log
itself did not know yet: it stays in the chain and says nothing. After the log's own entry about that end nobody could
have put it there by mistake, and the log does not hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from agent_pipeline.attestation import dsse, statements
from agent_pipeline.documents import strict
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.log_entry import ENDINGS, FIRST_PREVIOUS, PREDICATE_TYPE, LogEntry
from agent_pipeline.documents.root import Former, TrustRoot
from agent_pipeline.documents.statement import PAYLOAD_TYPE, Statement
from agent_pipeline.errors import SchemaError, SignatureError

# Who may say what. Everything that is not listed is CI's or the merger's.
_SIGNERS: Final = {
    "merged": ("merger",),
    "reverted": ("merger",),
    "revoked": ("ci", "merger", "root"),
    "retired": ("ci", "merger", "root"),
}


def check_log(entries: Sequence[bytes], root: TrustRoot) -> tuple[LogEntry, ...]:
    """Return the entries of the log that say something, oldest first, once all of it holds. Raises `SignatureError`.

    Threats: an entry dropped, reordered, renumbered, invented, or copied from another repository's log; a key that may
    run CI used to say that something was merged; an entry by a key after its end; a protected branch that was rewound
    to a trust root which the log already left behind.
    """
    previous = FIRST_PREVIOUS
    found: list[LogEntry] = []
    void: list[tuple[int, Former]] = []
    for index, data in enumerate(entries):
        try:
            entry, ended = read_entry(data, root, index)
        except (SchemaError, SignatureError) as error:
            raise SignatureError(f"entry {index} of the log: {error.message}", hint=error.hint) from error
        if entry.index != index or entry.previous != previous:
            raise SignatureError(
                f"entry {index} of the log does not continue the one before it (it says index {entry.index})",
                hint="an entry was dropped, moved or put in; compare with another clone's refs/agent-pipeline/log",
            )
        if entry.repository != root.repository:
            raise SignatureError(f"entry {index} of the log is about another repository: {entry.repository[:120]!r}")
        if ended is None:
            found.append(entry)
        else:
            void.append((index, ended))
        previous = strict.sha256(data)
    _check_root(found, root)
    for index, grant in void:
        check_void(index, grant, found)
    return tuple(found)


def read_entry(data: bytes, root: TrustRoot, index: int) -> tuple[LogEntry, Former | None]:
    """Return the entry at `index`, and None; or the grant that had ended when its key signed it.

    Raises `SchemaError`, and `SignatureError` when nobody signed it who ever could have.
    """
    envelope = Envelope.from_json(data)
    entry = LogEntry.from_statement(Statement.from_json(envelope.payload))
    wanted = _SIGNERS.get(entry.event, ("ci", "merger"))
    ended = [grant for grant in root.ended(envelope.keyid) if set(wanted) & set(grant.roles)]
    last = max(ended, key=lambda grant: grant.until, default=None)
    now = root.speaker(envelope.keyid, index)
    if last is None or (now is not None and set(wanted) & set(now.roles)):
        statements.read(data, root, PREDICATE_TYPE, *wanted, at=index)
        return entry, None
    dsse.check(envelope, last.key, PAYLOAD_TYPE)
    return entry, last


def check_void(index: int, ended: Former, entries: Iterable[LogEntry]) -> None:
    """Raise `SignatureError` when the log knew before `index` that the grant by which it was signed had ended.

    `entries` are those that say something, the endings at least. What an entry says of a key's end before the trust
    root's own end of it is no such knowledge: anybody who signs entries could write that.
    """
    known = (
        ended.until if ended.revoked else ended.until - 1
    )  # in good order, a key may sign the entry by which it ends
    for entry in entries:
        if entry.event in ENDINGS and ended.keyid in (entry.keys or ()) and known <= entry.index < index:
            raise SignatureError(
                f"entry {index} of the log is signed by key {ended.keyid[:8]}, which entry {entry.index} had "
                f"{entry.event}",
                hint="somebody who may push put it there; put refs/agent-pipeline/log back to the entry before it",
            )


def _check_root(entries: Iterable[LogEntry], root: TrustRoot) -> None:
    for entry in entries:
        if entry.root > root.version:
            raise SignatureError(
                f"entry {entry.index} of the log goes by version {entry.root} of the trust root, and the protected "
                f"branch has version {root.version}: it was rewound",
                hint="put the protected branch back to its newest commit, and find out who moved it",
            )
