"""The engine `command`: a command inside the sandbox is the agent. What it changes is the proposal.

A command that does not end with 0 proposes nothing, whatever it changed: a tool that says it failed is believed.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from agent_pipeline.agent.outcome import End, Outcome
from agent_pipeline.agent.recorder import Recorder
from agent_pipeline.agent.tools.editor import show
from agent_pipeline.documents import strict
from agent_pipeline.documents.provenance import Command
from agent_pipeline.documents.words import counted
from agent_pipeline.errors import UsageError
from agent_pipeline.mediator.budget import Budget
from agent_pipeline.mediator.events import Event, Sink
from agent_pipeline.mediator.gate import bound
from agent_pipeline.mediator.redaction import redact
from agent_pipeline.mediator.visible import visible
from agent_pipeline.sandbox.contract import Sandbox

_SHOWN: Final = 256 * 1024
_KILLED: Final = -1


def run(
    argv: Sequence[str], *, sandbox: Sandbox, budget: Budget, recorder: Recorder, sink: Sink
) -> tuple[End, Command]:
    """Run `argv` to its end or its time. Raises `SandboxError` when the sandbox is gone."""
    budget.steps = 1
    sink(Event("tool", 1, visible(shlex.join(argv))))
    try:
        result = sandbox.run(argv, seconds=budget.seconds_left())
    except ValueError as error:  # a NUL, or more than a command line holds
        raise UsageError(f"this command cannot be run: {error}", hint="put it into a script") from error
    code = _KILLED if result.code is None else result.code
    text, counts = redact(show(result.output))
    shown = bound(text, _SHOWN)
    record = {
        "type": "command",
        "argv": list(argv),
        "code": code,
        "seconds": round(result.seconds),
        "output": shown,
        "output_digest": strict.sha256(result.output),
    }
    recorder.add(record | ({"truncated": True} if result.truncated or shown is not text else {}))
    for what, count in counts.items():
        recorder.note("redacted", f"{count} x {what} taken out of the command's output")
    command = Command(tuple(argv), strict.sha256(strict.canonical(list(argv))), strict.sha256(result.output), code)
    end = _end(code, timed_out=result.timed_out, seconds=result.seconds, last=_last_line(text))
    sink(Event("end", 1, f"{end.outcome}: {end.detail}" if end.detail else str(end.outcome)))
    return end, command


def _end(code: int, *, timed_out: bool, seconds: float, last: str) -> End:
    if timed_out:
        return End(Outcome.SECONDS, f"the command was killed after {counted(round(seconds), 'second')}")
    if code != 0:
        return End(Outcome.COMMAND_FAILED, (f"exit code {code}: " if code > 0 else "killed: ") + last)
    return End(Outcome.FINISHED)


def _last_line(text: str) -> str:
    return visible(text.strip().split("\n")[-1]) or "it said nothing"
