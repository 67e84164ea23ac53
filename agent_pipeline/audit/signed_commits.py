"""Whether a commit is the one that the log says was made: who signed it, its tree, its parents, what it is about.

A message can be copied by anybody who may push; a signature and what it covers cannot.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agent_pipeline.attestation import commit_signer
from agent_pipeline.audit.record_whole import Bound
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.errors import RejectedError
from agent_pipeline.repository import commits
from agent_pipeline.repository.landed import Desk

_PARENTS: Final = 2


def staged(desk: Desk, commit: str, entry: LogEntry, admitted: int | None, bound: Bound | None) -> Iterator[str]:
    """Yield in what `commit` is not what CI staged of the proposal that `entry` is about, admitted at that index.

    `bound` None leaves out what nothing that is readable says. Raises `GitError`.
    """
    yield from _signature(desk, commit, "ci", admitted)
    yield from _message(desk, commit, entry)
    if bound is not None:
        yield from _tree(desk, commit, bound)
        if desk.clone.parents(commit) != (bound.base,):
            yield f"its only parent is not the proposal's base {bound.base[:12]}"


def merged(desk: Desk, commit: str, entry: LogEntry, admitted: int | None, bound: Bound | None) -> Iterator[str]:
    """Yield in what `commit` is not the merge that `entry` says was made. Raises `GitError`."""
    yield from _signature(desk, commit, "merger", entry.index)
    yield from _message(desk, commit, entry, f"Agent-Pipeline-Proposal: {entry.request}.{entry.number}")
    if bound is not None:
        yield from _tree(desk, commit, bound)
    parents = desk.clone.parents(commit)
    if bound is not None and parents[:1] != (bound.base,):
        yield f"its first parent is not the proposal's base {bound.base[:12]}"
    if len(parents) != _PARENTS:
        yield f"it has {len(parents)} parents, not the base and what CI staged"
        return
    for odd in staged(desk, parents[1], entry, admitted, bound):
        yield f"its second parent {parents[1][:12]} is not what CI staged: {odd}"


def _signature(desk: Desk, commit: str, role: str, index: int | None) -> Iterator[str]:
    """Yield why nobody who had `role` at the log's `index` signed a commit (None: whoever has it now)."""
    signed = commits.signature_of(desk.clone, commit)
    if signed is None:
        yield "it is not signed"
        return
    try:
        commit_signer.signer(*signed, desk.landed.root, role, at=index)
    except RejectedError as error:
        yield error.message


def _message(desk: Desk, commit: str, entry: LogEntry, *more: str) -> Iterator[str]:
    wanted = {f"Agent-Pipeline-Statement: sha256:{entry.statement}", *more}
    if not wanted <= set(desk.clone.message(commit).splitlines()):
        yield "its message names another proposal"


def _tree(desk: Desk, commit: str, bound: Bound) -> Iterator[str]:
    tree = desk.clone.tree(commit)
    if tree != bound.tree:
        yield f"its tree is {tree[:12]}, that of the signed proposal is {bound.tree[:12]}"
