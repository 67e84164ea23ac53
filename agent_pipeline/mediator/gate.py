"""The only way from a model's tool call to a tool.

A call is allowed when its tool is on offer, which only the policy decides, and when its input has the tool's form. What
the tool says is redacted and bounded before the model, the transcript or anyone else sees it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol

from agent_pipeline.mediator.places import ToolError
from agent_pipeline.mediator.redaction import redact

RESULT_LIMIT: Final = 64_000
_NAME_LIMIT: Final = 100


class Tool(Protocol):
    """One thing a model may do. `definition` is what the model is told, `schema` what its input must be."""

    @property
    def name(self) -> str:
        """The name by which the model calls it."""

    @property
    def definition(self) -> dict[str, Any]:
        """Return the tool's entry in the request to the model."""

    @property
    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of its input; it refuses what it does not name."""

    def call(self, arguments: Mapping[str, Any]) -> str:
        """Do it. Raises `ToolError` with a reason for the model, `SandboxError` when the sandbox is gone."""


@dataclass(frozen=True, slots=True)
class Result:
    """What goes back to the model. `redacted` counts what was taken out, by kind."""

    ok: bool
    content: str
    truncated: bool = False
    redacted: dict[str, int] = field(default_factory=dict)


class Gate:
    """Holds the tools of one run."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        """Offer exactly these tools."""
        self._tools = {tool.name: tool for tool in tools}

    @property
    def definitions(self) -> list[dict[str, Any]]:
        """What the model is told, in the order of the tools."""
        return [tool.definition for tool in self._tools.values()]

    def call(self, name: str, arguments: Any) -> Result:  # noqa: ANN401 - whatever a model sent
        """Check, run and clean one call. Raises `SandboxError` only."""
        try:
            text, ok = self._checked(name, arguments), True
        except ToolError as error:
            text, ok = str(error), False
        text, counts = redact(_printable(text))
        bounded = bound(text, RESULT_LIMIT)
        return Result(ok, bounded, truncated=bounded is not text, redacted=counts)

    def _checked(self, name: str, arguments: Any) -> str:  # noqa: ANN401 - whatever a model sent
        tool = self._tools.get(name)
        if tool is None:
            raise ToolError(f"there is no tool `{name[:_NAME_LIMIT]}` here; there are: {', '.join(self._tools)}")
        problem = self._problem(tool, arguments)
        if problem is not None:
            raise ToolError(f"the input of `{name}` is not valid: {problem}")
        return tool.call(arguments) or "(nothing)"

    def _problem(self, tool: Tool, arguments: Any) -> str | None:  # noqa: ANN401 - whatever a model sent
        error = next(iter(sorted(self._validators[tool.name].iter_errors(arguments), key=_place)), None)
        if error is None:
            return None
        where = "/".join(str(part) for part in error.absolute_path)
        return f"{where + ': ' if where else ''}{error.message[:500]}"

    @cached_property
    def _validators(self) -> dict[str, Any]:
        from jsonschema import Draft202012Validator  # noqa: PLC0415 - 80 ms that `--help` does not need

        return {tool.name: Draft202012Validator(tool.schema) for tool in self._tools.values()}


def _place(error: Any) -> list[str]:  # noqa: ANN401 - jsonschema's error
    return [str(part) for part in error.absolute_path]


def bound(text: str, limit: int) -> str:
    """Return `text`, or its beginning and end with a note of what was left out between them."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


def _printable(text: str) -> str:
    """Write lone surrogates out: no JSON carries them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
