"""Gathering what the verifier decides on: this clone's own objects, the rules in force, the log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from agent_pipeline import clock
from agent_pipeline.agent.prompts import registry
from agent_pipeline.attestation.trust import check_expiry
from agent_pipeline.audit import high_water
from agent_pipeline.audit.log import Log
from agent_pipeline.documents import strict
from agent_pipeline.documents.images_lock import PATH as IMAGES_PATH
from agent_pipeline.documents.images_lock import ImagesLock
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.policy import PATH as POLICY_PATH
from agent_pipeline.documents.proposal import Change
from agent_pipeline.documents.verification import FAILED, Verification
from agent_pipeline.errors import AgentPipelineError, GitError, RejectedError, SchemaError, UsageError
from agent_pipeline.repository import commits, records, trees
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.dossier import Dossier, closures
from agent_pipeline.repository.landed import Desk
from agent_pipeline.review.staging import branch_of
from agent_pipeline.verify.inputs import Inputs, LandingInputs, TreeFacts
from agent_pipeline.verify.landing import decide
from agent_pipeline.verify.verifier import OWN, verify
from agent_pipeline.verify.vouched import so_far


def tree_facts(clone: Clone, dossier: Dossier, *, whole: bool = True) -> TreeFacts:
    """Compute from this clone's objects what the proposal changes, twice, by two implementations.

    A clone that is not `whole` holds only the touched directories of both trees.
    """
    carrier = dossier.carrier
    try:
        base_tree = clone.tree(dossier.proposal.base)
    except GitError as error:  # whatever names a base that is nowhere on the remote, it is no change of this repository
        return TreeFacts("", (), "", None, carrier_message_ok=False, disagreement=f"the base: {error.message}")
    if carrier is None:
        return TreeFacts(base_tree, (), "", None, carrier_message_ok=False, disagreement="there is no carrier commit")
    result, parents = clone.tree(carrier), clone.parents(carrier)
    changes: tuple[Change, ...] = ()
    disagreement: str | None = None
    try:
        changes = trees.compare(clone, base_tree, result)
        trees.cross_check(clone, base_tree, result, changes, whole=whole)
    except AgentPipelineError as error:
        disagreement = error.message
    # The carrier is made of base and tree alone, so making it again must give the very same commit.
    again = records.carrier(clone, dossier.proposal.base, result) == carrier
    parent = parents[0] if len(parents) == 1 else None
    return TreeFacts(base_tree, changes, result, parent, carrier_message_ok=again, disagreement=disagreement)


def check_trees(clone: Clone, dossier: Dossier) -> None:
    """Raise `RejectedError` when the manifest names other trees than the commits that it came with."""
    said, carrier = dossier.proposal, dossier.carrier
    found = (clone.tree(said.base), clone.tree(carrier) if carrier is not None else None)
    if found != (said.base_tree, said.tree):
        raise RejectedError(
            f"the manifest of {dossier.name} does not say what its commits say",
            hint=f"somebody wrote into its record; `agent-pipeline show {dossier.record.id}`",
        )


def inputs(desk: Desk, dossier: Dossier, log: Log, now: datetime) -> Inputs:
    """Return everything that the verification of one proposal needs, as of `log`."""
    return Inputs(
        request=dossier.record.id,
        number=dossier.number,
        request_envelope=dossier.request_envelope,
        manifest=dossier.manifest,
        provenance_envelope=dossier.provenance_envelope,
        transcript=dossier.transcript,
        tree_facts=tree_facts(desk.clone, dossier),
        policy_bytes=desk.landed.policy_bytes,
        root=desk.landed.root,
        anchor=desk.landed.anchor,
        url=desk.url,
        log=log.prove(dossier.record.id),
        landed=not desk.landed.trial,
        images=desk.landed.images,
        now=now,
        prompts=registry(),
        closures=closures(dossier.record),
    )


def rules_of(clone: Clone, commit: str) -> tuple[bytes, ImagesLock]:
    """Return the policy's bytes and the images lock in a commit. Raises `SchemaError` where it has none."""
    policy, images = clone.file(commit, POLICY_PATH), clone.file(commit, IMAGES_PATH)
    if policy is None or images is None:
        raise SchemaError(f"commit {commit[:12]} has no {POLICY_PATH} or no {IMAGES_PATH}")
    return policy, ImagesLock.from_json(images)


def as_merged(clone: Clone, inputs: Inputs, base: str, merged: LogEntry) -> Inputs:
    """Return the inputs of the decision to merge: the rules of the merge's base, its time, the log before its entry."""
    policy, images = rules_of(clone, base)
    now = clock.parse_rfc3339(merged.created)
    return replace(inputs, policy_bytes=policy, images=images, now=now, before=merged.index, landed=True)


def verify_dossier(desk: Desk, dossier: Dossier, now: datetime) -> Verification:
    """Verify one proposal as CI does. Raises what `_check_own` raises."""
    found = verify(inputs(desk, dossier, high_water.open_log(desk), now))
    _check_own(desk, found, now)
    return found


def _check_own(desk: Desk, found: Verification, now: datetime) -> None:
    """Raise where the rules or the address that this machine judges by do not hold themselves.

    Nothing was found out about the proposal then, whatever other steps say, and nothing may be logged of it. Raises
    `UnavailableError` for a trust root that expired since this desk was opened, else `UsageError`.
    """
    check_expiry(desk.landed.root, now)
    own = [check for check in found.checks if check.outcome == FAILED and check.name.partition(" ")[2] in OWN]
    if own:
        raise UsageError(
            f"nothing can be judged here: {'; '.join(f'{check.name}: {check.reason}' for check in own)}",
            hint="mend this machine's pin or the address of its clone; the proposal waits",
        )


def staged_tip(desk: Desk, dossier: Dossier) -> str | None:
    """Return the commit of the branch `agent/<id>`, or None."""
    return desk.tip(branch_of(dossier.record.id))


def landing_inputs(
    desk: Desk, dossier: Dossier, log: Log, now: datetime, *, merger: str, staged: str | None
) -> LandingInputs:
    """Return everything that the decision to merge needs, as of `log`.

    `merger` is the id of the key that would sign it, `staged` the commit on `agent/<id>`, as `staged_tip` read it.
    """
    return LandingInputs(
        inputs=inputs(desk, dossier, log, now),
        attestations=tuple(dossier.attestations.values()),
        staged=commits.signature_of(desk.clone, staged) if staged is not None else None,
        target_tip=desk.tip(dossier.proposal.target),
        merger=merger,
    )


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision to merge and all that it rests on: only with these very things does it hold.

    `envelopes` are CI's and the reviewers' that counted, `staged` the commit that it is about, `log` how far the log
    had come. The refs may name others by now: whoever fetches in this clone, or pushes into it, moves them.
    """

    decision: Verification
    envelopes: tuple[bytes, ...]
    staged: str | None
    log: Log


def decide_landing(desk: Desk, dossier: Dossier, now: datetime, *, merger: str) -> Decided:
    """Decide as the merge does. Raises what `_check_own` raises, `SignatureError` for a rewound log."""
    log, staged = high_water.open_log(desk), staged_tip(desk, dossier)
    landing = landing_inputs(desk, dossier, log, now, merger=merger, staged=staged)
    decision = decide(landing)
    _check_own(desk, decision, now)
    held = so_far(landing).envelopes
    envelopes = tuple(dict.fromkeys(data for data in dossier.attestations.values() if strict.sha256(data) in held))
    return Decided(decision, envelopes, staged, log)
