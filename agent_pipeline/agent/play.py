"""One run of a source of turns through the loop: header, loop, end, and what is left behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent_pipeline.agent.job import Job
from agent_pipeline.agent.loop import Loop
from agent_pipeline.agent.outcome import End, RunOutcome
from agent_pipeline.agent.prompts import FrozenPrompt
from agent_pipeline.agent.recorder import Recorder
from agent_pipeline.agent.render import Rendered, render
from agent_pipeline.agent.source import Source
from agent_pipeline.agent.toolbox import Toolbox, toolbox
from agent_pipeline.documents import strict
from agent_pipeline.documents.provenance import Prompt
from agent_pipeline.documents.request import Request
from agent_pipeline.mediator.budget import Budget
from agent_pipeline.sandbox.contract import Sandbox


@dataclass(frozen=True, slots=True)
class Stage:
    """All of a run but where its turns come from."""

    job: Job
    tools: Toolbox
    frozen: FrozenPrompt
    rendered: Rendered
    budget: Budget
    recorder: Recorder

    @property
    def prompt(self) -> Prompt:
        """What provenance says of the prompt."""
        return Prompt(self.frozen.name, self.frozen.sha256, self.rendered.digest())

    @property
    def digests(self) -> dict[str, str]:
        """What a recording must have in its header to be played here."""
        return {
            "prompt_digest": self.frozen.sha256,
            "tools_digest": self.tools.digest,
            "system_digest": strict.sha256(self.rendered.system.encode()),
        }


def prepare(job: Job, sandbox: Sandbox, frozen: FrozenPrompt, budget: Budget, recorder: Recorder) -> Stage:
    """Return the stage of a run. Raises `PolicyError` when the policy leaves no way to submit."""
    tools = toolbox(
        job.policy, job.request.only, sandbox=sandbox, changed=job.changed, seconds_left=budget.seconds_left
    )
    return Stage(job, tools, frozen, render(frozen, job.request, job.policy), budget, recorder)


def play(stage: Stage, source: Source, **header: str) -> End:
    """Write the header, with what the engine adds to it, and go through the loop. Raises what the loop raises."""
    job = stage.job
    stage.recorder.add(
        opening(job) | {"tools": list(stage.tools.names), "prompt": stage.frozen.name} | stage.digests | header
    )
    loop = Loop(
        source=source,
        gate=stage.tools.gate,
        submit=stage.tools.submit,
        budget=stage.budget,
        recorder=stage.recorder,
        sink=job.watch,
        prompt=stage.rendered,
    )
    end = loop.run()
    stage.recorder.end(end.outcome, end.detail)
    return end


def opening(job: Job) -> dict[str, Any]:
    """Return what every header has."""
    return {
        "type": "header",
        "version": 1,
        "engine": job.request.engine.name,
        "request": job.request.id,
        "task": task_digest(job.request),
    }


def task_digest(request: Request) -> str:
    """Return the SHA-256 of the request's text."""
    return strict.sha256(request.text.encode("utf-8"))


def result(stage: Stage, end: End) -> RunOutcome:
    """Return what a run through the loop leaves behind, before an engine adds its own."""
    return RunOutcome(
        transcript=stage.recorder.data,
        records=stage.recorder.records,
        outcome=end.outcome,
        detail=end.detail,
        submission=end.submission,
        usage=stage.budget.usage(),
        tools=stage.tools.names,
        tools_digest=stage.tools.digest,
    )
