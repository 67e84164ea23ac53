"""What shaped a proposal, as one provenance. Everything in it is the runner's word."""

from __future__ import annotations

from datetime import datetime

from agent_pipeline import clock
from agent_pipeline import config as configuration
from agent_pipeline.agent.outcome import RunOutcome
from agent_pipeline.documents import strict
from agent_pipeline.documents.proposal import Proposal
from agent_pipeline.documents.provenance import Provenance, SandboxFacts
from agent_pipeline.documents.request import Request


def provenance(  # noqa: PLR0913 - everything that shaped it
    request: Request,
    request_envelope: bytes,
    proposal: Proposal,
    outcome: RunOutcome,
    sandbox: SandboxFacts,
    *,
    policy: str,
    root_version: int,
    started: datetime,
    finished: datetime,
) -> Provenance:
    """Return the provenance of `proposal`. `policy` is the digest of the policy in force."""
    return Provenance(
        request=request.id,
        number=proposal.number,
        request_envelope=strict.sha256(request_envelope),
        kind=request.kind,
        task=strict.sha256(request.text.encode("utf-8")),
        repository=request.repository,
        target=request.target,
        base=request.base,
        base_tree=proposal.base_tree,
        tree=proposal.tree,
        staging=f"refs/heads/agent/{request.id}",
        only=request.only,
        engine=request.engine.name,
        trial=request.trial,
        requester=request.requester,
        policy=policy,
        root_version=root_version,
        tools=outcome.tools,
        tools_digest=outcome.tools_digest,
        sandbox=sandbox,
        usage=outcome.usage,
        transcript=strict.sha256(outcome.transcript),
        transcript_records=outcome.records,
        outcome=str(outcome.outcome),
        runner_version=configuration.VERSION,
        started=clock.rfc3339(started),
        finished=clock.rfc3339(finished),
        model=outcome.model,
        prompt=outcome.prompt,
        command=outcome.command,
        recording=outcome.recording,
    )
