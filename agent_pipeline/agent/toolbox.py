"""Which tools a run offers: those of the contract that the policy lists, and no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent_pipeline.agent import wire
from agent_pipeline.agent.tools.commands import RunCheck, Shell
from agent_pipeline.agent.tools.editor import Editor
from agent_pipeline.agent.tools.submit import Submit
from agent_pipeline.documents.policy import Policy
from agent_pipeline.errors import PolicyError
from agent_pipeline.mediator.gate import Gate, Tool
from agent_pipeline.mediator.places import writable
from agent_pipeline.policy import rules
from agent_pipeline.sandbox.contract import Sandbox


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools behind their gate; `submit` is the one that ends a run."""

    gate: Gate
    submit: Submit
    names: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The SHA-256 of the definitions that a model is shown."""
        return wire.tools_digest(self.gate.definitions)


def toolbox(
    policy: Policy,
    only: Sequence[str],
    *,
    sandbox: Sandbox,
    changed: Callable[[], tuple[str, ...]],
    seconds_left: Callable[[], float],
) -> Toolbox:
    """Return the tools of a run under `policy`. Raises `PolicyError` when it leaves no way to submit."""
    checks = RunCheck(sandbox, policy.checks, seconds_left)
    submit = Submit(changed, lambda path: rules.may_write(policy, path, only), checks.ran)
    known: tuple[Tool, ...] = (
        Editor(sandbox, lambda path: writable(policy, path, only)),
        Shell(sandbox, seconds_left),
        checks,
        submit,
    )
    offered = [tool for tool in known if tool.name in policy.tools and (tool is not checks or policy.checks)]
    if submit not in offered:
        raise PolicyError(
            "the policy does not list `submit_proposal` (tools), so a model could not finish", hint="list it"
        )
    return Toolbox(Gate(offered), submit, tuple(tool.name for tool in offered))
