"""Running things in the sandbox: the policy's named checks and, where the policy lists it, a shell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from agent_pipeline.agent.tools.editor import show
from agent_pipeline.documents.policy import CheckPolicy
from agent_pipeline.mediator.places import ToolError
from agent_pipeline.sandbox.contract import CommandResult, Sandbox

OUTPUT_LIMIT: Final = 48 * 1024
SHELL_SECONDS: Final = 120
_KNOWN_SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class RunCheck:
    """A named check of the policy. `ran` collects the names that were run, for the comparison with the claim."""

    sandbox: Sandbox
    checks: Mapping[str, CheckPolicy]
    seconds_left: Callable[[], float]
    ran: set[str] = field(default_factory=set)

    name: ClassVar[str] = "run_check"

    @property
    def schema(self) -> dict[str, Any]:
        """Its input: the name of a check of this policy."""
        names = {"type": "string", "enum": sorted(self.checks), "description": "The check's name."}
        return {"type": "object", "properties": {"name": names}, "required": ["name"], "additionalProperties": False}

    @property
    def definition(self) -> dict[str, Any]:
        """The tool's entry in the request."""
        return {
            "name": self.name,
            "description": "Run one of the repository's named checks in the workspace as it is now, and return its "
            "exit code and output. `quick` is meant for you; run it before you submit.",
            "input_schema": self.schema,
            "strict": True,
        }

    def call(self, arguments: Mapping[str, Any]) -> str:
        """Run the check to its end or its time; a failing check is a result, not an error."""
        name = arguments["name"]
        check = self.checks[name]
        result = self.sandbox.run(
            check.run, seconds=_seconds(check.seconds, self.seconds_left()), output_limit=OUTPUT_LIMIT
        )
        self.ran.add(name)
        return _report(result) + _known(check)


@dataclass(frozen=True, slots=True)
class Shell:
    """`bash`, each command in a shell of its own."""

    sandbox: Sandbox
    seconds_left: Callable[[], float]

    name: ClassVar[str] = "bash"
    schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {"command": {"type": "string", "minLength": 1}, "restart": {"type": "boolean"}},
        "minProperties": 1,
        "additionalProperties": False,
    }

    @property
    def definition(self) -> dict[str, Any]:
        """The tool's entry in the request. Source: the SDK's `ToolBash20250124Param`."""
        return {"type": "bash_20250124", "name": self.name}

    def call(self, arguments: Mapping[str, Any]) -> str:
        """Run one command line in the workspace."""
        if "command" not in arguments:
            return "every command gets a new shell in the workspace: there is nothing to restart"
        seconds = _seconds(SHELL_SECONDS, self.seconds_left())
        try:
            result = self.sandbox.run(["bash", "-c", arguments["command"]], seconds=seconds, output_limit=OUTPUT_LIMIT)
        except ValueError as error:  # a NUL, or more than a command line holds
            raise ToolError(f"this command cannot be run: {error}") from error
        return _report(result)


def _seconds(most: float, left: float) -> float:
    if left <= 0:
        raise ToolError("the run has no time left")
    return min(most, left)


def _report(result: CommandResult) -> str:
    if result.timed_out:
        ended = f"killed after {result.seconds:.0f} seconds"
    elif result.code is None:
        ended = "killed"
    else:
        ended = f"exit code {result.code}"
    return f"{ended}\n{show(result.output)}".rstrip()


def _known(check: CheckPolicy) -> str:
    """Tell the model which failures are not its own."""
    if not check.known_failures:
        return ""
    shown = check.known_failures[:_KNOWN_SHOWN]
    more = len(check.known_failures) - len(shown)
    return "\n\nKnown to fail before any change:\n" + "\n".join(shown) + (f"\n... and {more} more" if more else "")
