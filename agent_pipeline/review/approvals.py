"""What a reviewer signs: a decision about exactly one tree on one base, by the policy in force, for a limited time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from agent_pipeline import clock
from agent_pipeline.documents import strict
from agent_pipeline.documents.approval import Approval
from agent_pipeline.errors import RejectedError, StaleError
from agent_pipeline.policy import digest
from agent_pipeline.repository import records
from agent_pipeline.repository.dossier import APPROVAL, Dossier, attestation_path
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.refs import RefUpdate
from agent_pipeline.signing.hand import Hand


def check_tree(dossier: Dossier, tree: str) -> None:
    """Refuse when the reviewer means another tree than the proposal's. Raises `StaleError`.

    Only the whole id will do: two trees of one's own making with the same first twelve digits are found in a minute.
    """
    if tree != dossier.proposal.tree:
        raise StaleError(
            f"you mean tree {tree}, but {dossier.name} is tree {dossier.proposal.tree}",
            hint=f"read it again with `agent-pipeline diff {dossier.name}`, then approve the tree that you read",
        )


def check_reviewer(desk: Desk, dossier: Dossier, name: str) -> None:
    """Refuse at once what the verifier would refuse later. Raises `RejectedError`."""
    person = desk.landed.root.person(name)
    if person is None or "reviewer" not in person.roles or person.bot:
        raise RejectedError(
            f"{name} is no reviewer of this repository", hint="`agent-pipeline trust show` lists who is"
        )
    if name == dossier.request.requester:
        raise RejectedError(
            f"{name} asked for {dossier.record.id} and cannot review it", hint="ask somebody else to review"
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """`word` is approved or rejected; an approval ends the same person's rejections in the envelopes `takes_back`."""

    word: str
    reason: str | None = None
    takes_back: tuple[str, ...] = ()


def decide(desk: Desk, dossier: Dossier, hand: Hand, decision: Decision, *, now: datetime) -> Approval:
    """Sign a decision and add it to the record. Raises `RejectedError`, `StaleError`."""
    check_reviewer(desk, dossier, hand.person)
    approval = Approval(
        version=1,
        decision=decision.word,
        repository=desk.landed.root.repository,
        target=dossier.proposal.target,
        base=dossier.proposal.base,
        tree=dossier.proposal.tree,
        request=dossier.record.id,
        proposal=dossier.statement,
        policy=digest(desk.landed.policy_bytes),
        reviewer=hand.person,
        created=clock.rfc3339(now),
        expires=clock.rfc3339(now + timedelta(days=desk.landed.policy.landing.approval_days)),
        reason=decision.reason,
        takes_back=decision.takes_back or None,
    )
    envelope = hand.signer.statement(approval.to_statement(strict.sha256(dossier.manifest))).to_json()
    files = {attestation_path(dossier.number, APPROVAL, envelope): envelope}
    commit = records.extend(desk.clone, dossier.record, dossier.record.id, files)
    update = RefUpdate(records.REQUESTS + dossier.record.id, dossier.record.tip, commit)
    records.publish(desk.clone, [update], remote=desk.remote)
    return approval
