"""The merge: one signed commit, one log entry, one transaction with a lease on everything that was decided on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from agent_pipeline import clock, interrupts
from agent_pipeline import config as configuration
from agent_pipeline.audit import entries
from agent_pipeline.audit.log import Log
from agent_pipeline.documents import levels, strict
from agent_pipeline.documents.statement import Statement
from agent_pipeline.documents.summary import MERGER_ID, Summary
from agent_pipeline.documents.verification import PASSED, Verification
from agent_pipeline.errors import PolicyError, StaleError
from agent_pipeline.policy import digest
from agent_pipeline.repository import attestations, commits, landed, records, remotes, worktree
from agent_pipeline.repository.dossier import MERGE, Dossier, attestation_path
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.refs import RefUpdate
from agent_pipeline.signing.hand import Hand

_PLAIN = re.compile(r"[a-z-]{1,20}\.[0-9a-f]{16}\.dsse\.json")  # as `attestation_path` names them


@dataclass(frozen=True, slots=True)
class Merged:
    """The target's full name, its old commit and its new one."""

    target: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Basis:
    """What a merge rests on: the decision, the envelopes that held in it, the staged commit, the log as it was then.

    The merge is published only where that log has grown by nothing else: a rejection or a closure may have come since.
    """

    decision: Verification
    envelopes: tuple[bytes, ...]
    staged: str
    log: Log


def merge(desk: Desk, dossier: Dossier, basis: Basis, hand: Hand, now: datetime) -> Merged:
    """Merge the staged commit by a passed decision. Raises `StaleError` when anything moved meanwhile."""
    decision = basis.decision
    if decision.verdict != PASSED or decision.statement != dossier.statement:
        raise PolicyError(f"{dossier.name} is not decided to land", hint=f"`agent-pipeline show {dossier.name}`")
    target, old = dossier.proposal.target, dossier.proposal.base
    if desk.tip(target) != old:
        raise StaleError(f"{target} moved since {dossier.name} was made", hint="ask again on the new base")
    in_the_way = _in_the_way(desk, target, old, dossier)
    if in_the_way:
        raise StaleError(
            f"your working tree has changes of its own in {', '.join(in_the_way[:5])}",
            hint="stash them (a commit would move the branch), then land again; nothing was changed",
        )
    landed.check_in_force(desk)
    summary = hand.signer.statement(_summary(desk, dossier, basis, now)).to_json()
    detail = f"{target} on {old}"
    said = entries.about(dossier, "merged", (*basis.envelopes, summary), detail)
    logged = entries.append(desk, basis.log, said, hand.signer.statement, now)
    new = _merge_commit(desk, dossier, basis.staged, str(logged.new), hand, now)
    files = {attestation_path(dossier.number, MERGE, summary): summary}
    updates = [
        RefUpdate(target, old, new),
        RefUpdate(
            records.REQUESTS + dossier.record.id,
            dossier.record.tip,
            records.extend(desk.clone, dossier.record, dossier.record.id, files),
        ),
        _attested(desk, dossier, basis, summary, now),
    ]
    with interrupts.held_back():  # a branch that moved without its files would look as if they had been changed back
        entries.publish(desk, updates, logged)
        if desk.remote is None and _checked_out(desk) == target:
            worktree.update(desk.clone, old, new)
    return Merged(target, old, new)


def _checked_out(desk: Desk) -> str | None:
    return desk.clone.head_ref() if desk.clone.worktree is not None else None


def _in_the_way(desk: Desk, target: str, old: str, dossier: Dossier) -> tuple[str, ...]:
    """Return local changes that a merge without a remote would have to overwrite."""
    if desk.remote is not None or _checked_out(desk) != target or dossier.carrier is None:
        return ()
    return worktree.can_update(desk.clone, old, dossier.carrier)


def _summary(desk: Desk, dossier: Dossier, basis: Basis, now: datetime) -> Statement:
    inputs = (dossier.request_envelope, dossier.provenance_envelope, *basis.envelopes)
    summary = Summary(
        verifier=MERGER_ID,
        version=configuration.VERSION,
        time=clock.rfc3339(now),
        repository=desk.landed.root.repository,
        target=dossier.proposal.target,
        policy=digest(desk.landed.policy_bytes),
        statement=dossier.statement,
        inputs=tuple(strict.sha256(data) for data in inputs),
        passed=True,
        levels=tuple(levels.level(proof) for proof in basis.decision.proofs),
        base=dossier.proposal.base,
        tree=dossier.proposal.tree,
        checks=basis.decision.checks,
        merged_on=dossier.proposal.base,
    )
    return summary.to_statement(strict.sha256(dossier.manifest))


def _merge_commit(desk: Desk, dossier: Dossier, staged: str, log_head: str, hand: Hand, now: datetime) -> str:
    """Return the merge: first parent the target, second the staged commit, tree the approved one.

    It names the log's head, so that the protected branch is the high-water mark of the log.
    """
    message = (
        f"Merge agent change {dossier.name}\n\n"
        f"Agent-Pipeline-Proposal: {dossier.name}\n"
        f"Agent-Pipeline-Statement: sha256:{dossier.statement}\n"
        f"Agent-Pipeline-Log: {log_head}\n"
    )
    draft = commits.draft(
        desk.clone, dossier.proposal.tree, [dossier.proposal.base, staged], message, hand.name, hand.email, now
    )
    return commits.write(desk.clone, draft, hand.signer.commit(draft))


def _attested(desk: Desk, dossier: Dossier, basis: Basis, summary: bytes, now: datetime) -> RefUpdate:
    """Return the update of `refs/attestations/trees` that adds what the merge of this tree rests on, and no more."""
    old = desk.clone.ref(remotes.tracking(desk.remote, attestations.REF))
    held = {strict.sha256(data)[:16]: data for data in (dossier.provenance_envelope, *basis.envelopes)}
    kinds = {name.split(".")[1]: name.split(".")[0] for name in dossier.attestations if _PLAIN.fullmatch(name)}
    names = {f"{kinds.get(digest, 'envelope')}.{digest}": data for digest, data in held.items()}
    names |= {"request": dossier.request_envelope, f"{MERGE}.{strict.sha256(summary)[:16]}": summary}
    return RefUpdate(attestations.REF, old, attestations.add(desk.clone, old, dossier.proposal.tree, names, now))
