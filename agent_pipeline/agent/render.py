"""From a request to what the model is shown first. Pure: the same request and policy render to the same bytes.

Nothing here depends on the request's id, time or requester, so that a recording can be played for another request with
the same task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent_pipeline.agent.prompts import FrozenPrompt
from agent_pipeline.documents import strict
from agent_pipeline.documents.policy import Policy
from agent_pipeline.documents.request import Request

# Said once when the model stops without submitting; a constant, since it is part of every later request.
NUDGE = (
    "You have not submitted anything. If your change is complete, call submit_proposal now; if the task cannot or "
    "should not be done, end with a message that says why."
)


@dataclass(frozen=True, slots=True)
class Rendered:
    """`system` is the frozen text as it stands, `user` the first message."""

    system: str
    user: str

    def digest(self) -> str:
        """Return the SHA-256 of the canonical JSON of both."""
        return strict.sha256(strict.canonical({"system": self.system, "user": self.user}))


def render(prompt: FrozenPrompt, request: Request, policy: Policy) -> Rendered:
    """Return the prompt with the request's task and the rules that hold for it."""
    marker = f"task {strict.sha256(request.text.encode('utf-8', 'backslashreplace'))[:16]}"
    lines = [
        f"The task is of the kind `{request.kind}`. It stands between the two markers:",
        f"<<<{marker}>>>",
        request.text,
        f"<<<end of {marker}>>>",
        "",
        "Rules that hold for this run:",
        f"- You may change files that match: {_listed(policy.paths.write.allow)}",
        f"- but none that match: {_listed(policy.paths.write.deny)}",
    ]
    if request.only:
        lines.append(f"- and only such as also match: {_listed(request.only)}")
    lines.append(f"- Tests are files that match: {_listed(policy.paths.tests)}")
    lines.append(f"- Checks: {_listed(sorted(policy.checks))}")
    lines.append(f"- At most {policy.limits.files} files may change, {policy.limits.bytes} bytes in all.")
    return Rendered(prompt.text, "\n".join(lines))


def _listed(items: Sequence[str]) -> str:
    return ", ".join(f"`{item}`" for item in items) or "(none)"
