"""Turns of an agent written by hand, briefly, and played through the real loop.

`record` makes a transcript that the `recorded` engine plays: it is honest about itself, for its header says that no
model was asked. The same turns serve as answers of the Messages API peer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from support.messages_peer import Reply

from agent_pipeline.agent import prompts
from agent_pipeline.agent.job import Job
from agent_pipeline.agent.outcome import Outcome, RunOutcome
from agent_pipeline.agent.play import play, prepare, result
from agent_pipeline.agent.recorder import Recorder
from agent_pipeline.agent.source import Turn
from agent_pipeline.documents import strict, transcript
from agent_pipeline.errors import CheckError
from agent_pipeline.mediator.budget import Budget
from agent_pipeline.sandbox.contract import Sandbox

EDITOR = "str_replace_based_edit_tool"


def say(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def call(name: str, arguments: Any, id: str | None = None) -> dict[str, Any]:  # noqa: A002 - the API's word
    """One tool call; without an id it gets one from what it asks for."""
    made = id or "toolu_" + strict.sha256(strict.canonical([name, arguments]))[:12]
    return {"type": "tool_use", "id": made, "name": name, "input": arguments}


def view(path: str, view_range: Sequence[int] | None = None) -> dict[str, Any]:
    extra = {} if view_range is None else {"view_range": list(view_range)}
    return call(EDITOR, {"command": "view", "path": path} | extra)


def create(path: str, text: str) -> dict[str, Any]:
    return call(EDITOR, {"command": "create", "path": path, "file_text": text})


def edit(path: str, old: str, new: str) -> dict[str, Any]:
    return call(EDITOR, {"command": "str_replace", "path": path, "old_str": old, "new_str": new})


def insert(path: str, line: int, text: str) -> dict[str, Any]:
    return call(EDITOR, {"command": "insert", "path": path, "insert_line": line, "insert_text": text})


def bash(command: str) -> dict[str, Any]:
    return call("bash", {"command": command})


def run_check(name: str = "quick") -> dict[str, Any]:
    return call("run_check", {"name": name})


def submit(
    files: Sequence[str], *, summary: str = "Changed it.", rationale: str = "Asked.", checks: Sequence[str] = ()
) -> dict[str, Any]:
    claim = {"summary": summary, "rationale": rationale, "files": list(files), "checks": list(checks)}
    return call("submit_proposal", claim)


def turn(*blocks: dict[str, Any], stop_reason: str | None = None) -> Reply:
    """One answer of the peer."""
    return Reply(blocks, stop_reason)


def turns_of(steps: Sequence[dict[str, Any]]) -> list[Reply]:
    """Turns from plain JSON: each `text`, then `calls` of tools by `name` with their `input`."""
    return [
        turn(say(step["text"]), *(call(item["name"], item["input"]) for item in step.get("calls", ())))
        for step in steps
    ]


def comparable(data: bytes) -> list[dict[str, Any]]:
    """A transcript's records without what may differ between runs of the same turns: what tools said, and the id."""
    kept = [item for item in transcript.parse(data) if item["type"] not in ("note", "end")]
    return [{name: value for name, value in item.items() if name not in _FREE.get(item["type"], ())} for item in kept]


_FREE = {"tool": ("content", "truncated"), "header": ("request",)}


class ScriptedSource:
    """A source of turns that says what it was told to, in order; ids are made unique by the step."""

    def __init__(self, turns: Sequence[Reply]) -> None:
        self._turns = list(turns)

    def answer(self, request: dict[str, Any], request_digest: str, step: int) -> Turn:
        del request, request_digest
        if step > len(self._turns):
            raise CheckError(f"the script has no turn {step}")
        reply = self._turns[step - 1]
        content = tuple(_numbered(block, step, place) for place, block in enumerate(reply.content, 1))
        calls = any(block["type"] == "tool_use" for block in content)
        return Turn(content, reply.stop_reason or ("tool_use" if calls else "end_turn"), {})

    def witness(self, record: dict[str, Any]) -> None:
        """Nothing to compare with."""

    def finish(self, outcome: Outcome) -> None:
        """Nothing left to say."""


def _numbered(block: dict[str, Any], step: int, place: int) -> dict[str, Any]:
    return block | {"id": f"toolu_{step:02}_{place:02}"} if block["type"] == "tool_use" else block


def play_script(job: Job, sandbox: Sandbox, turns: Sequence[Reply], *, prompt: str | None = None) -> RunOutcome:
    """Play `turns` through the real loop, with the job's policy and limits, in `sandbox`."""
    recorder = Recorder(job.record)
    budget = Budget(job.request.limits, job.policy.limits.tokens, price=None)
    name = prompt or job.request.engine.prompt or prompts.newest(job.request.kind)
    stage = prepare(job, sandbox, prompts.load(name), budget, recorder)
    script = strict.sha256(strict.canonical([list(reply.content) for reply in turns]))
    engine = replace(job.request.engine, name="recorded", model=None, prompt=None)
    staged = replace(stage, job=replace(job, request=replace(job.request, engine=engine)))
    end = play(staged, ScriptedSource(turns), recording=script)
    return result(staged, end)


def record(job: Job, sandbox: Sandbox, turns: Sequence[Reply], *, prompt: str | None = None) -> bytes:
    """Return the transcript of the scripted run. Raises `CheckError` when it does not end in a submission.

    `job.request` may be any request with the task (text, kind, `only`) that the recording is to be played for, and
    `job.policy` must have the checks, tools and paths of the policy it is to be played under. The header's request id
    is that of `job.request`.
    """
    outcome = play_script(job, sandbox, turns, prompt=prompt)
    if outcome.outcome is not Outcome.SUBMITTED:
        raise CheckError(
            f"the scripted run ended with `{outcome.outcome}`: {outcome.detail}\n{outcome.transcript.decode()}"
        )
    return outcome.transcript
