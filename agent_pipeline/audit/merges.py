"""Merges on the protected branch and in the log: each has the other, and the proofs that it rests on are kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from agent_pipeline.audit import high_water, signed_commits
from agent_pipeline.audit.records_named import Named
from agent_pipeline.audit.walking import Finding, Passed
from agent_pipeline.documents import strict
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.repository import attestations, commits, remotes
from agent_pipeline.repository.landed import Desk

_PROPOSAL: Final = re.compile(r"^Agent-Pipeline-Proposal: ([a-z2-7]{16}\.[1-9][0-9]{0,5})$", re.MULTILINE)
_BACK: Final = "compare the branch with another clone; find out who moved it, and put it back"


@dataclass(slots=True)
class Merges:
    """The merges of agents' changes on the protected branch, by the log's commit that each says that it is of."""

    desk: Desk
    branch: str
    by_entry: dict[str, list[str]] = field(default_factory=dict)  # the log's commit -> what claims to be its merge
    unnamed: list[str] = field(default_factory=list)

    def made(self, step: Passed, named: Named) -> Iterator[Finding]:
        """Yield what is missing of the merge that an entry is about, or is another than its merger made."""
        entry, person = step.signed.entry, step.signed.person
        claims = self.by_entry.pop(step.commit, [])
        if not claims:
            what = (
                f"entry {entry.index} says that {entry.request}.{entry.number} was merged, and {self.branch} lacks it"
            )
            yield Finding(what, _BACK, entry.index, self.branch, person)
            return
        merge, odd = self._likeliest(claims, entry, named)
        self.unnamed += [other for other in claims if other != merge]
        for why in odd:
            what = f"merge {merge[:12]} on {self.branch} is not the one that entry {entry.index} says was made: {why}"
            made_by = commits.committer(self.desk.clone, merge)
            yield Finding(what, _BACK, entry.index, self.branch, committer=made_by)
        yield from self._kept(step, merge, named)

    def _likeliest(self, claims: list[str], entry: LogEntry, named: Named) -> tuple[str, list[str]]:
        """Return the commit that is the merge, or the most of it, and in what it is not."""
        admitted, bound = named.admissions.get(str(entry.statement)), named.bound(entry)
        found = [
            (merge, list(signed_commits.merged(self.desk, merge, entry, admitted, bound)))
            for merge in dict.fromkeys(claims)
        ]
        merge, odd = min(found, key=lambda pair: len(pair[1]))
        if bound is None and entry.request not in named.gone:
            odd.append("the record does not tell any more which tree was approved")
        return merge, odd

    def _kept(self, step: Passed, merge: str, named: Named) -> Iterator[Finding]:
        """Yield that proofs which a merge rests on are gone."""
        entry, person = step.signed.entry, step.signed.person
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
        for merge in [*(one for claims in self.by_entry.values() for one in claims), *self.unnamed]:
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
            if entry is not None:
                found.by_entry.setdefault(entry, []).append(at)
            else:
                found.unnamed.append(at)
        at = next(iter(desk.clone.parents(at)), None)
    return found
