"""`submit_proposal`: the model's claim, checked by the host before it counts.

The claim is compared with what the workspace holds, with what may be changed, and with the checks that ran. Each
mistake goes back to the model, which may mend it. What is accepted here is still a claim: after the sandbox is dead,
the host compares again, and that decides.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from agent_pipeline.documents import schema
from agent_pipeline.documents.submission import Submission
from agent_pipeline.errors import RejectedError, SchemaError
from agent_pipeline.mediator.places import ToolError, locate

# Keywords that a strict tool's schema cannot carry: the provider refuses them, our own validation does not need them.
_UNSUPPORTED: Final = frozenset(
    {"minLength", "maxLength", "minItems", "maxItems", "pattern", "$schema", "$id", "title"}
)
MOST_ATTEMPTS: Final = 5
_SHOWN: Final = 20


@dataclass(slots=True)
class Submit:
    """`changed` lists what differs from the base now; `refused` says why a path may not change, or None.

    `accepted` is the submission once one holds; `mismatches` counts those that did not.
    """

    changed: Callable[[], tuple[str, ...]]
    refused: Callable[[str], str | None]
    ran: Collection[str]
    accepted: Submission | None = field(default=None, init=False)
    mismatches: int = field(default=0, init=False)

    name: ClassVar[str] = "submit_proposal"
    schema: ClassVar[dict[str, Any]] = {"type": "object"}  # the document's own schema speaks, in `call`

    @property
    def definition(self) -> dict[str, Any]:
        """The tool's entry in the request; its form is that of the document."""
        return {
            "name": self.name,
            "description": "Submit the finished change. `files` must name every file that you changed, created or "
            "deleted, and no other; `checks` the checks that you ran. The run ends when it is accepted.",
            "input_schema": strict(schema.load(Submission.STEM)),
            "strict": True,
        }

    @property
    def mismatched(self) -> bool:
        """Whether something was submitted and nothing held."""
        return self.accepted is None and self.mismatches > 0

    def call(self, arguments: Mapping[str, Any]) -> str:
        """Accept the claim, or say everything that is wrong with it."""
        if self.accepted is not None:
            raise ToolError("a proposal is already accepted")
        try:
            claim = Submission.from_dict(dict(arguments))
        except SchemaError as error:
            raise ToolError(f"the proposal is not valid: {error.message}") from error
        files = tuple(sorted({locate(path) for path in claim.files}))
        try:
            problems = self._problems(files, claim.checks)
        except RejectedError as error:  # the workspace holds what no proposal may carry, or too much of it
            problems = [error.message]
        if problems:
            self.mismatches += 1
            raise ToolError("the proposal does not match what happened:\n- " + "\n- ".join(problems))
        self.accepted = Submission(claim.summary, claim.rationale, files, claim.checks)
        return "accepted"

    def _problems(self, files: tuple[str, ...], checks: tuple[str, ...]) -> list[str]:
        really, claimed = set(self.changed()), set(files)
        said = [f"`{path}` changed but is not in `files`" for path in sorted(really - claimed)]
        said += [f"`{path}` is in `files` but did not change" for path in sorted(claimed - really)]
        said += [f"{reason}; put it back" for path in sorted(really) if (reason := self.refused(path)) is not None]
        said += [f"the check `{name}` is in `checks` but was not run" for name in sorted(set(checks) - set(self.ran))]
        return [*said[:_SHOWN], f"and {len(said) - _SHOWN} more"] if len(said) > _SHOWN else said


def strict(value: Any) -> Any:  # noqa: ANN401 - any part of a JSON Schema
    """Return a schema reduced to what strict tools carry. Everything left out is checked here all the same."""
    if isinstance(value, dict):
        return {name: strict(item) for name, item in value.items() if name not in _UNSUPPORTED}
    return [strict(item) for item in value] if isinstance(value, list) else value
