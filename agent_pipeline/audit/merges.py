"""Merges on the protected branch and in the log: each has the other, and the proofs that it rests on are kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from agent_pipeline.audit import high_water
from agent_pipeline.audit.records_named import Named
from agent_pipeline.audit.walking import Finding, Passed
from agent_pipeline.documents import strict
from agent_pipeline.repository import attestations, commits, remotes
from agent_pipeline.repository.landed import Desk

_PROPOSAL: Final = re.compile(r"^Agent-Pipeline-Proposal: ([a-z2-7]{16}\.[1-9][0-9]{0,5})$", re.MULTILINE)
_BACK: Final = "compare the branch with another clone; find out who moved it, and put it back"


@dataclass(slots=True)
class Merges:
    """The merges of agents' changes on the protected branch, by the log's commit that each names."""

    desk: Desk
    branch: str
    by_entry: dict[str, str] = field(default_factory=dict)  # the log's commit -> the merge
    unnamed: list[str] = field(default_factory=list)

    def made(self, step: Passed, named: Named) -> Iterator[Finding]:
        """Yield what is missing of the merge that an entry is about."""
        entry, person = step.signed.entry, step.signed.person
        merge = self.by_entry.pop(step.commit, None)
        if merge is None:
            what = (
                f"entry {entry.index} says that {entry.request}.{entry.number} was merged, and {self.branch} lacks it"
            )
            yield Finding(what, _BACK, entry.index, self.branch, person)
            return
        tree = self.desk.clone.tree(merge)
        tip = self.desk.clone.ref(remotes.tracking(self.desk.remote, attestations.REF))
        held = attestations.of_tree(self.desk.clone, tip, tree) if tip is not None else {}
        kept = {strict.sha256(data.removesuffix(b"\n")) for data in held.values()}
        lost = [digest[:16] for digest in entry.envelopes if digest not in kept]
        if lost:
            what = f"the proofs of merge {merge[:12]} (entry {entry.index}) are not kept: {', '.join(lost[:3])}"
            records = (
                " (the record has them yet)" if set(entry.envelopes) <= named.envelopes(str(entry.request)) else ""
            )
            yield Finding(what + records, "restore the ref from another clone", entry.index, attestations.REF, person)

    def unknown(self) -> Iterator[Finding]:
        """Yield the merges that no entry of the log is about."""
        for merge in [*self.by_entry.values(), *self.unnamed]:
            what = (
                f"merge {merge[:12]} on {self.branch} says it is an agent's change, and no entry of the log is about it"
            )
            todo = f"look at it (git show {merge[:12]}) and revert it unless you know why; find out who pushed it"
            yield Finding(what, todo, ref=self.branch, committer=commits.committer(self.desk.clone, merge))


def of_branch(desk: Desk) -> Merges:
    """Return the merges on the protected branch: first parents, newest first. Raises `GitError`."""
    branch = desk.landed.anchor.branch
    found = Merges(desk, branch)
    at = desk.tip(branch)
    while at is not None:
        message = desk.clone.message(at)
        if _PROPOSAL.search(message) is not None:
            entry = high_water.named_entry(message)
            if entry is not None and entry not in found.by_entry:
                found.by_entry[entry] = at
            else:
                found.unnamed.append(at)
        at = next(iter(desk.clone.parents(at)), None)
    return found
