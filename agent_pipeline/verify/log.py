"""The shared log: an unbroken chain of entries, each signed by CI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent_pipeline.attestation import statements
from agent_pipeline.documents import strict
from agent_pipeline.documents.log_entry import FIRST_PREVIOUS, PREDICATE_TYPE, LogEntry
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.errors import SchemaError, SignatureError

_MERGES: Final = ("merged", "reverted")


def check_log(entries: Sequence[bytes], root: TrustRoot) -> tuple[LogEntry, ...]:
    """Return the entries of the log, oldest first, once all of it holds. Raises `SignatureError`.

    Threats: an entry dropped, reordered, renumbered, invented, or copied from another repository's log; a key that may
    run CI used to say that something was merged.
    """
    previous, found = FIRST_PREVIOUS, []
    for index, data in enumerate(entries):
        try:
            entry = _entry(data, root)
        except (SchemaError, SignatureError) as error:
            raise SignatureError(f"entry {index} of the log: {error.message}", hint=error.hint) from error
        if entry.index != index or entry.previous != previous:
            raise SignatureError(
                f"entry {index} of the log does not continue the one before it (it says index {entry.index})",
                hint="an entry was dropped, moved or put in; compare with another clone's refs/agent-pipeline/log",
            )
        if entry.repository != root.repository:
            raise SignatureError(f"entry {index} of the log is about another repository: {entry.repository[:120]!r}")
        found.append(entry)
        previous = strict.sha256(data)
    return tuple(found)


def _entry(data: bytes, root: TrustRoot) -> LogEntry:
    signed = statements.read(data, root, PREDICATE_TYPE, "ci", "merger")
    entry = LogEntry.from_statement(signed.statement)
    statements.require_role(signed.person, *(("merger",) if entry.event in _MERGES else ("ci", "merger")))
    return entry
