"""The order of the stages, and nothing else.

`propose` is stages 1 to 6 on the developer's side, `admit` 7 to 9 on CI's, `land` 10 and 11. Each stage does its work
in its own room.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime

from agent_pipeline import clock
from agent_pipeline.agent.facts import provenance
from agent_pipeline.agent.job import Job
from agent_pipeline.agent.outcome import Outcome, RunOutcome
from agent_pipeline.agent.run import check as check_job
from agent_pipeline.agent.run import run
from agent_pipeline.audit import cord, entries, leases
from agent_pipeline.documents.policy import Policy
from agent_pipeline.documents.provenance import SandboxFacts
from agent_pipeline.documents.replay_result import ReplayResult
from agent_pipeline.documents.request import Request
from agent_pipeline.documents.verification import FAILED, PASSED, Verification
from agent_pipeline.errors import (
    AgentPipelineError,
    CheckError,
    ModelError,
    PolicyError,
    SandboxError,
    UsageError,
)
from agent_pipeline.merge import merging
from agent_pipeline.policy import digest, rules
from agent_pipeline.replay.checks import Bench, bounds, set_up, setup_env
from agent_pipeline.replay.replay import replay
from agent_pipeline.repository import records
from agent_pipeline.repository.dossier import Dossier, open_dossier, read_request, runs
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.version import base_version
from agent_pipeline.review import evidence, recording, staging
from agent_pipeline.review.staging import Found
from agent_pipeline.sandbox import fallbacks
from agent_pipeline.sandbox.contract import UID, Engine, Image, Spec
from agent_pipeline.sandbox.engines import choose, engine
from agent_pipeline.sandbox.images.derive import ensure
from agent_pipeline.sandbox.sweep import sweep
from agent_pipeline.signing import hand as hands
from agent_pipeline.signing.hand import Hand
from agent_pipeline.workspace import Workspace, absent, create
from agent_pipeline.workspace.proposing import changed_paths, collect
from agent_pipeline.workspace.proposing import propose as propose_changes

__all__ = ["admit", "admit_or_preview", "check", "examine", "land", "propose"]

_SPARE_SECONDS = 120


def propose(desk: Desk, request: Request, played: bytes | None) -> Dossier:
    """Carry a recorded request to a signed proposal: copy, contain, act, propose, attest.

    A run that fails or is interrupted leaves its transcript and the reason in the record, and nothing else anywhere.
    """
    cord.check_running(desk)
    hand = hands.need(desk.config, desk.clone, desk.landed.root, "runner")
    record = records.find(desk.clone, request.id, desk.remote)
    number = max(runs(record), default=0) + 1
    started = clock.now()
    with leases.held(desk.config, request.id), recording.kept_when_failed(desk, request.id, number) as kept:
        with ExitStack() as stack:
            box = choose(desk.config, desk.landed.policy.sandbox.backends, request.sandbox)
            workspace = _copy(desk, request, box, stack)
            outcome, facts = _act(desk, request, played, box, workspace, kept)
            if not outcome.proposes:
                raise _no_proposal(request, outcome)
            found = collect(desk.clone, workspace, desk.landed.policy)
            proposal, carrier = propose_changes(
                desk.clone, found, desk.landed.policy, request, number, outcome.submission
            )
        statement = provenance(
            request,
            read_request(record)[0],
            proposal,
            outcome,
            facts,
            policy=digest(desk.landed.policy_bytes),
            root_version=desk.landed.root.version,
            started=started,
            finished=clock.now(),
        ).to_statement(proposal.digest())
        envelope = hand.signer.statement(statement).to_json()
        recording.add_proposal(desk, proposal, outcome.transcript, envelope, carrier)
    return open_dossier(records.find(desk.clone, request.id, desk.remote), number)


def _copy(desk: Desk, request: Request, box: Engine, stack: ExitStack) -> Workspace:
    """Stage 2: the paths of the base that the policy lets an agent read, without Git."""
    policy = desk.landed.policy
    workspace = stack.enter_context(
        create(
            desk.clone,
            desk.clone.tree(request.base),
            may_read=lambda path: rules.may_read(policy, path),
            scope=rules.read_scope(policy),
            lowers=desk.config.lowers,
            parent=desk.config.runs,
            disk_mb=policy.sandbox.disk_mb,
            uid=UID,
            reach=box.reach,
        )
    )
    for line in absent.told(absent.lists(workspace), f"`agent-pipeline show {request.id} --json`"):
        desk.tell(f"copy: {line}")
    return workspace


def _act(
    desk: Desk, request: Request, played: bytes | None, box: Engine, workspace: Workspace, kept: recording.Kept
) -> tuple[RunOutcome, SandboxFacts]:
    """Stages 3 and 4: start the container, let the engine work in it, and kill it."""
    policy = desk.landed.policy
    _sweep(desk)
    image = locked_image(desk, box)
    desk.tell(f"contain: {box.name}, image {image.identity[:12]}")
    life = request.limits.seconds + policy.setup.seconds + _SPARE_SECONDS
    spec = Spec(
        image=image,
        workspace=workspace.path,
        bounds=bounds(policy, life),
        run=request.id,
        env=setup_env(policy, base_version(desk.clone, request.base)),
        runtime=policy.sandbox.runtime,
        namespace=workspace.namespace,
        copied=workspace.mode,
    )
    with box.start(spec) as sandbox:
        for line in fallbacks.told(sandbox.facts):
            desk.tell(f"contain: {line}")
        problem = set_up(sandbox, policy)
        if problem is not None:
            raise SandboxError(
                f"the project cannot be set up in the sandbox: {problem}", hint="mend the policy's `setup`"
            )

        def changed() -> tuple[str, ...]:
            sandbox.sync()
            return changed_paths(collect(desk.clone, workspace, policy))

        job = replace(_job(desk, request, played, kept, changed), notes=(absent.note(absent.lists(workspace)),))
        return run(job, sandbox), sandbox.facts


def _sweep(desk: Desk) -> None:
    """Remove what killed runs left, with either engine. One that cannot do it now is no reason to stop."""
    try:
        removed = sweep(desk.config.runs)
    except AgentPipelineError as error:
        desk.tell(f"sweep: {error.message}")
        return
    if removed:
        desk.tell(f"sweep: removed what a killed run left: {', '.join(removed)}")


def _job(
    desk: Desk, request: Request, played: bytes | None, kept: recording.Kept, changed: Callable[[], tuple[str, ...]]
) -> Job:
    return Job(
        request=request,
        policy=desk.landed.policy,
        changed=changed,
        api_key=desk.config.api_key,
        base_url=desk.config.base_url,
        recording=played,
        watch=lambda event: desk.tell(str(event)),
        record=kept.add,
    )


def check(desk: Desk, request: Request, played: bytes | None) -> None:
    """Find out before anything is recorded whether the run can begin: stop cord, key, model, recording, image."""
    cord.check_running(desk)
    check_job(_job(desk, request, played, recording.Kept(), tuple))
    locked_image(desk, choose(desk.config, desk.landed.policy.sandbox.backends, request.sandbox))


def _no_proposal(request: Request, outcome: RunOutcome) -> AgentPipelineError:
    """Return the error for a run that came to an end and to nothing else: a no, or a model that could not be had."""
    said = f"the run ended without a proposal: {outcome.outcome}" + (f" ({outcome.detail})" if outcome.detail else "")
    kind = ModelError if outcome.outcome in (Outcome.REFUSAL, Outcome.MAX_TOKENS, Outcome.UNKNOWN_STOP) else CheckError
    shows = f"`agent-pipeline transcript {request.id}` shows what was done"
    return kind(said, hint=f"{shows}; ask again, in other words or with wider limits")


def locked_image(desk: Desk, box: Engine) -> Image:
    """Return the image that the rules in force name, made from the locks when it is not here yet.

    Raises `SandboxError` when it cannot be had, or is another than the locked one.
    """
    name = desk.landed.policy.sandbox.image
    if name not in desk.landed.images.images:
        raise PolicyError(
            f"the policy names the image `{name}`, which the images lock does not have", hint="mend the lock"
        )
    return ensure(desk.config, box, desk.landed.images, name, desk.landed.requirements or b"", desk.tell)


def bench(desk: Desk, policy: Policy, dossier: Dossier, box: Engine, image: Image) -> Bench:
    """Return where the replay of `dossier` runs."""
    version = base_version(desk.clone, dossier.proposal.base)
    return Bench(desk.clone, desk.config, policy, box, image, dossier.record.id, version)


def examine(desk: Desk, dossier: Dossier, result: ReplayResult | None = None, *, replays: bool = True) -> Found:
    """Stages 7 and 8: verify; only what may be trusted to be what it says is replayed. Signs nothing.

    `result` is a replay that another job made; it must be of this very proposal. Without `replays` none is made here:
    what does not verify needs none, anything else raises `UsageError`.
    """
    desk.tell(f"verify: {dossier.name}")
    verification = evidence.verify_dossier(desk, dossier, clock.now())
    if verification.verdict != PASSED:
        return Found(verification, None)
    if result is None and not replays:
        raise UsageError(
            f"{dossier.name} verifies, and nobody replayed it", hint="run `ci replay`, and give its results"
        )
    if result is None:
        box = engine(dossier.request.sandbox, desk.config)
        why = box.available()
        if why is not None:
            box = choose(desk.config, desk.landed.policy.sandbox.backends, None)
        place = bench(desk, desk.landed.policy, dossier, box, locked_image(desk, box))
        result = replay(place, dossier.proposal, kind=dossier.request.kind, statement=dossier.statement, tell=desk.tell)
    elif (result.statement, result.tree) != (dossier.statement, dossier.proposal.tree):
        raise UsageError(f"these results are of another proposal than {dossier.name}", hint="run `ci replay` again")
    return Found(verification, result)


def admit(desk: Desk, request: str, result: ReplayResult | None, *, replays: bool = True) -> Found:
    """Stages 7 to 9: verify, replay, sign and stage. What could not be told is neither staged nor rejected."""
    cord.check_running(desk)
    hand = hands.need(desk.config, desk.clone, desk.landed.root, "ci")
    record = records.find(desk.clone, request, desk.remote)
    dossier = open_dossier(record)
    staging.check_room(desk, dossier)
    found = examine(desk, dossier, result, replays=replays)
    if found.verdict in (PASSED, FAILED):
        _stage(desk, dossier, found, hand)
        desk.tell(f"stage: {dossier.name} {'staged' if found.verdict == PASSED else 'rejected'}")
    return found


def _stage(desk: Desk, dossier: Dossier, found: Found, hand: Hand) -> None:
    """Stage, and again when only the log moved meanwhile: other requests take turns on it."""
    entries.again(desk, lambda: staging.stage(desk, dossier, found, hand, clock.now()), lambda: _moved(desk, dossier))


def _moved(desk: Desk, dossier: Dossier) -> bool:
    return records.find(desk.clone, dossier.record.id, desk.remote).tip != dossier.record.tip


def admit_or_preview(desk: Desk, dossier: Dossier) -> Found:
    """Admit when CI's part falls to this person and the rules have landed; else look at what CI will see."""
    if not dossier.request.trial and hands.falls_to(desk.config, desk.clone, desk.landed.root, "ci"):
        return admit(desk, dossier.record.id, None)
    return examine(desk, dossier)


def land(desk: Desk, request: str, now: datetime) -> tuple[Verification, merging.Merged | None]:
    """Stages 10 and 11: verify all of it again, and merge if every proof that the policy wants is there.

    All of it is decided anew when the log moved meanwhile: what came may be a rejection, or about another request.
    """
    cord.check_running(desk)
    hand = hands.need(desk.config, desk.clone, desk.landed.root, "merger")
    dossier = open_dossier(records.find(desk.clone, request, desk.remote))
    log = desk.tip(records.LOG)

    def decide_and_merge() -> tuple[Verification, merging.Merged | None]:
        nonlocal log
        found = evidence.decide_landing(desk, dossier, now, merger=hand.signer.public().keyid)
        if found.decision.verdict != PASSED or found.staged is None:
            return found.decision, None
        log = found.log.head
        basis = merging.Basis(found.decision, found.envelopes, found.staged, found.log)
        return found.decision, merging.merge(desk, dossier, basis, hand, now)

    return entries.again(desk, decide_and_merge, lambda: desk.tip(records.LOG) == log or _moved(desk, dossier))
