"""`policy check`, `policy migrate`."""

from __future__ import annotations

from pathlib import Path

from agent_pipeline import clock
from agent_pipeline import config as configuration
from agent_pipeline.attestation import trust
from agent_pipeline.cli import desk as desks
from agent_pipeline.cli.groups import group
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.documents.policy import PATH, Policy
from agent_pipeline.errors import PolicyError, UnavailableError, UsageError
from agent_pipeline.policy import digest, load, people, rules
from agent_pipeline.policy.reader import VERSION, version_of
from agent_pipeline.repository.clone import Clone


def _read() -> tuple[Clone, bytes]:
    """Return this clone and its working tree's policy. Raises `UsageError` when there is none."""
    clone = Clone.discover(Path.cwd())
    if clone.worktree is None or not (clone.worktree / PATH).is_file():
        raise UsageError(f"there is no {PATH} here", hint="set the repository up with `agent-pipeline init`")
    return clone, (clone.worktree / PATH).read_bytes()


@command("agent-pipeline policy check")
def check(out: Output) -> None:
    """Check the working tree's policy: its form, and that people can fulfil it."""
    clone, data = _read()
    policy = load(data)
    warnings = rules.warnings(policy) + _compared(out, clone, policy, data)
    document = {"policy": PATH, "sha256": digest(data), "warnings": warnings}
    out.finish(document, lambda: "\n".join(["the policy is well-formed", *(f"note: {line}" for line in warnings)]))


def _compared(out: Output, clone: Clone, policy: Policy, data: bytes) -> list[str]:
    """Return what there is to say when the policy is held against the people that the trust root has.

    Raises `PolicyError` when they cannot fulfil it, and whatever makes the trust root one that nobody may go by.
    """
    try:
        desk = desks.opened(clone, configuration.load(), out.talk, clock.now(), push=False)
    except (UsageError, UnavailableError) as error:  # nothing is pinned or set up yet
        return [f"not compared with the trust root: {error.message}"]
    reasons = people.unfulfillable(policy, desk.landed.root)
    if reasons:
        raise PolicyError("; ".join(reasons), hint="then run `agent-pipeline policy check` again")
    said = people.left_out(policy, desk.landed.root)
    if (warning := trust.expiry_warning(desk.landed.root, clock.now())) is not None:
        said.append(warning)
    if digest(desk.landed.policy_bytes) != digest(data):
        said.append("this policy is not the one on the protected branch; that one stays in force until this lands")
    return said


@command("agent-pipeline policy migrate")
def migrate(out: Output) -> None:
    """Bring the working tree's policy to the newest version of its form."""
    _, data = _read()
    version = version_of(data)
    if version != VERSION:
        raise UsageError(
            f"{PATH} is of version {version!r}, and the newest that this agent-pipeline knows is {VERSION}",
            hint="use a newer agent-pipeline, or take the policy from an older commit of the protected branch",
        )
    load(data)
    document = {"policy": PATH, "version": VERSION, "migrated": False}
    out.finish(document, lambda: f"nothing to migrate: version {VERSION} is the newest")


policy = group(
    "policy",
    "What agents may do here, and what a change needs to land.",
    {
        "check": ("policy:check", "Check the working tree's policy."),
        "migrate": ("policy:migrate", "Bring it to the newest version of its form."),
    },
    "agent-pipeline policy check",
)
