"""The shared log in memory, by the production code: what an honest log stores beside its next entry, and its proofs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from agent_pipeline.attestation import log_entries, state_map
from agent_pipeline.attestation.log_entries import FIRST, Roots
from agent_pipeline.documents.log_entry import EVERYTHING, LogEntry
from agent_pipeline.documents.log_proof import LogProof
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.errors import RejectedError


def following(log: Sequence[bytes]) -> Roots:
    """What the next entry must say, whatever the entries of `log` claim themselves."""
    return stored(tuple(log))[0]


@lru_cache(maxsize=4096)
def stored(log: tuple[bytes, ...]) -> tuple[Roots, dict[str, bytes]]:
    """What follows, and the files of the log so far by path."""
    if not log:
        return FIRST, {}
    before, files = stored(log[:-1])
    said = log_entries.read_unsigned(log[-1])
    honest = replace(said, index=before.index, history=before.history, state=before.state)
    roots = log_entries.after(files.get, honest, log[-1])
    kept = {path: data for path, data in (files | roots.files).items() if data is not None}
    return roots, kept


def standing(log: Sequence[bytes], root: TrustRoot) -> tuple[LogEntry, ...]:
    """The entries that stand, once every one of them continues the log before it."""
    found = []
    for index, data in enumerate(log):
        try:
            signed = log_entries.read(data, root, index)
        except RejectedError as error:
            raise log_entries.named(index, error) from error
        following(log[:index]).check_place(signed.entry)
        found.append(signed)
    return tuple(signed.entry for signed in log_entries.standing(found))


def prove(log: Sequence[bytes], request: str, root: TrustRoot | None = None) -> LogProof:
    """The proof of what `log` says about `request`; by `root`, of what it says up to its newest entry that stands."""
    while root is not None and log and log_entries.read(log[-1], root).ended is not None:
        log = log[:-1]
    if not log:
        return LogProof.of(request, None, (), ())
    roots, files = stored(tuple(log[:-1]))
    fetch = log_entries.fetch_from(files.get)
    walks = [state_map.walk(fetch, bytes.fromhex(roots.state), key) for key in (request, EVERYTHING)]
    indexes = sorted(item.index for items, _ in walks for item in items)
    nodes = dict.fromkeys(node for _, found in walks for node in found)
    return LogProof.of(request, log[-1], [log[index] for index in indexes], list(nodes))
