"""`policy check`."""

from __future__ import annotations

from pathlib import Path

from agent_pipeline import clock
from agent_pipeline import config as configuration
from agent_pipeline.cli.groups import group
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.documents.policy import PATH, Policy
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.errors import AgentPipelineError, PolicyError, UsageError
from agent_pipeline.policy import digest, load, rules
from agent_pipeline.repository import landed
from agent_pipeline.repository.clone import Clone


@command("agent-pipeline policy check")
def check(out: Output) -> None:
    """Check the working tree's policy: its form, and that people can fulfil it."""
    clone = Clone.discover(Path.cwd())
    if clone.worktree is None or not (clone.worktree / PATH).is_file():
        raise UsageError(f"there is no {PATH} here", hint="set the repository up with `agent-pipeline init`")
    data = (clone.worktree / PATH).read_bytes()
    policy = load(data)
    warnings = rules.warnings(policy)
    try:
        desk = landed.open_desk(clone, configuration.load(), out.talk, clock.now(), push=False)
    except AgentPipelineError as error:
        warnings.append(f"not compared with the trust root: {error.message}")
    else:
        reasons = unfulfillable(policy, desk.landed.root)
        if reasons:
            raise PolicyError(
                "; ".join(reasons), hint="add people with `agent-pipeline trust add`, or lower the numbers"
            )
        if digest(desk.landed.policy_bytes) != digest(data):
            warnings.append(
                "this policy is not the one on the protected branch; that one stays in force until this lands"
            )
    document = {"policy": PATH, "sha256": digest(data), "warnings": warnings}
    out.finish(document, lambda: "\n".join(["the policy is well-formed", *(f"note: {line}" for line in warnings)]))


def unfulfillable(policy: Policy, root: TrustRoot) -> list[str]:
    """Return why no change could ever land by this policy with these people; empty when one could."""
    people = [person for person in root.people if person.keys]
    reviewers = [person for person in people if "reviewer" in person.roles and not person.bot]
    reasons = []
    if len(reviewers) < policy.landing.reviewers:
        reasons.append(
            f"landing.reviewers is {policy.landing.reviewers}, the trust root has {len(reviewers)} reviewers"
        )
    if len(people) < policy.landing.persons:
        reasons.append(f"landing.persons is {policy.landing.persons}, the trust root has {len(people)} people")
    reasons += [
        f"nobody has the role `{role}`"
        for role in ("requester", "runner", "ci", "merger")
        if not any(role in person.roles for person in people)
    ]
    return reasons


policy = group(
    "policy",
    "What agents may do here, and what a change needs to land.",
    {"check": ("policy:check", "Check the working tree's policy.")},
    "agent-pipeline policy check",
)
