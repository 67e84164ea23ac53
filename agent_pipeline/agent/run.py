"""The entry: one run of one engine in a sandbox that is already there, to a transcript and an outcome.

Ends of a run are outcomes. Raised are: `UsageError` (no key, no such prompt), `PolicyError` (endpoint, model or prompt
not listed), `ModelError` (unreachable, refused, cut off), `CheckError` (a recording that does not fit), `SandboxError`
(the sandbox is gone). Whatever is raised, an interrupt included, a transcript that has begun gets its
end record first, and `Job.record` has seen every line of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Final

from agent_pipeline.agent import command, endpoint, prompts
from agent_pipeline.agent.job import Job
from agent_pipeline.agent.outcome import Outcome, RunOutcome
from agent_pipeline.agent.play import opening, play, prepare, result
from agent_pipeline.agent.prompts import FrozenPrompt
from agent_pipeline.agent.recorded import Recorded, Recording
from agent_pipeline.agent.recorder import Recorder
from agent_pipeline.agent.wire import tools_digest
from agent_pipeline.documents.provenance import Model
from agent_pipeline.errors import AgentPipelineError, CheckError, PolicyError, UsageError
from agent_pipeline.mediator.budget import Budget
from agent_pipeline.mediator.prices import price_of
from agent_pipeline.policy import rules
from agent_pipeline.sandbox.contract import Sandbox

_NO_KEY: Final = "set ANTHROPIC_API_KEY, or let a command do it: --engine command -- COMMAND"
_ENGINES: Final = ("claude", "command", "recorded")


def check(job: Job) -> None:
    """Find out without a sandbox whether the run can begin. Raises what `run` would raise for it."""
    checks = {"claude": _check_claude, "command": _check_command, "recorded": _recording}
    name = job.request.engine.name
    if name not in checks:
        raise UsageError(f"there is no engine `{name}`", hint=f"there are: {', '.join(_ENGINES)}")
    checks[name](job)


def run(job: Job, sandbox: Sandbox) -> RunOutcome:
    """Run the request's engine to its end."""
    check(job)
    runs = {"claude": _run_claude, "command": _run_command, "recorded": _run_recorded}
    recorder = Recorder(job.record, job.notes)
    with _ended(recorder):
        return runs[job.request.engine.name](job, sandbox, recorder)


@contextmanager
def _ended(recorder: Recorder) -> Iterator[None]:
    """Give the transcript an end whatever happens, and let it happen."""
    try:
        yield
    except AgentPipelineError as error:
        recorder.end(Outcome.ERROR, error.message)
        raise
    except Exception:
        recorder.end(Outcome.ERROR, "a defect of the runner")
        raise
    except BaseException:  # an interrupt, or whatever else a signal becomes
        recorder.end(Outcome.INTERRUPTED, "interrupted from outside")
        raise


def _check_claude(job: Job) -> str:
    """Return the endpoint's origin."""
    engine, models = job.request.engine, job.policy.models
    if not job.api_key:
        raise UsageError("there is no API key for the engine claude", hint=_NO_KEY)
    if engine.model is None or engine.prompt is None:
        raise UsageError("the engine claude needs a model and a prompt", hint="name them with --model and --prompt")
    if not rules.matches_any(models.allow, engine.model):
        raise PolicyError(
            f"the policy does not allow the model `{engine.model}` (models.allow)",
            hint=f"it allows: {', '.join(models.allow) or 'none'}",
        )
    _prompt(job, engine.prompt)
    return endpoint.allowed(job.policy, job.base_url or endpoint.DEFAULT)


def _prompt(job: Job, name: str) -> FrozenPrompt:
    """Return the prompt `name` when the policy lists it."""
    listed = job.policy.models.prompts
    if not rules.matches_any(listed, name):
        raise PolicyError(
            f"the policy does not allow the prompt `{name}` (models.prompts)",
            hint=f"it allows: {', '.join(listed) or 'none'}",
        )
    return prompts.load(name)


def _run_claude(job: Job, sandbox: Sandbox, recorder: Recorder) -> RunOutcome:
    from agent_pipeline.agent.claude import Claude  # noqa: PLC0415 - keeps what only this engine needs out of the others

    origin, model = _check_claude(job), str(job.request.engine.model)
    budget = Budget(job.request.limits, job.policy.limits.tokens, price_of(model))
    stage = prepare(job, sandbox, _prompt(job, str(job.request.engine.prompt)), budget, recorder)
    source = Claude(
        api_key=job.api_key,
        base_url=job.base_url or endpoint.DEFAULT,
        model=model,
        budget=budget,
        recorder=recorder,
        sink=job.watch,
    )
    with closing(source):
        end = play(
            stage, source, model=model, endpoint=origin, api_version=source.api_version, sdk=f"anthropic {source.sdk}"
        )
    asked = Model(model, tuple(sorted(source.served)), origin, source.api_version)
    return replace(result(stage, end), model=asked, prompt=stage.prompt)


def _recording(job: Job) -> Recording:
    if job.recording is None:
        raise UsageError("the engine recorded has nothing to play", hint="name a transcript with --transcript FILE")
    recording, engine = Recording(job.recording), job.request.engine
    if engine.transcript is not None and engine.transcript != recording.sha256:
        raise CheckError(
            f"the transcript is {recording.sha256}, but the request names {engine.transcript}",
            hint="play the file that the request was made with",
        )
    if engine.prompt is not None and engine.prompt != recording.prompt:
        raise CheckError(
            f"the recording was made with the prompt {recording.prompt}, but the request names {engine.prompt}",
            hint=f"ask with --prompt {recording.prompt}",
        )
    _prompt(job, recording.prompt)
    return recording


def _run_recorded(job: Job, sandbox: Sandbox, recorder: Recorder) -> RunOutcome:
    recording = _recording(job)
    budget = Budget(job.request.limits, job.policy.limits.tokens, price=None)
    stage = prepare(job, sandbox, _prompt(job, recording.prompt), budget, recorder)
    recording.check_header(**stage.digests)
    source = Recorded(recording)
    end = play(stage, source, recording=recording.sha256)
    return replace(
        result(stage, end),
        prompt=stage.prompt,
        recording=recording.sha256,
        differences=tuple(source.differences),
    )


def _check_command(job: Job) -> None:
    if not job.request.engine.command or not job.request.engine.command[0]:
        raise UsageError("the engine command has no command", hint="put it last, after `--`")


def _run_command(job: Job, sandbox: Sandbox, recorder: Recorder) -> RunOutcome:
    argv = job.request.engine.command or ()
    budget = Budget(job.request.limits, job.policy.limits.tokens, price=None)
    recorder.add(opening(job) | {"tools": [], "tools_digest": tools_digest([]), "command": list(argv)})
    end, said = command.run(argv, sandbox=sandbox, budget=budget, recorder=recorder, sink=job.watch)
    recorder.end(end.outcome, end.detail)
    return RunOutcome(
        transcript=recorder.data,
        records=recorder.records,
        outcome=end.outcome,
        detail=end.detail,
        submission=None,
        usage=budget.usage(),
        tools=(),
        tools_digest=tools_digest([]),
        command=said,
    )
