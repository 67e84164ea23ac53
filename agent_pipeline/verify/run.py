"""Steps about the run as the runner asserts it: engine, model, prompt, tools, sandbox, limits, transcript, time.

None of this is proven: the runner says so. These steps hold him to what was asked and to what the policy allows.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from agent_pipeline.documents import moments, strict
from agent_pipeline.documents.words import counted
from agent_pipeline.errors import UnavailableError
from agent_pipeline.policy import rules
from agent_pipeline.verify.case import Case
from agent_pipeline.verify.steps import Skip, equal, require

CLAUDE, COMMAND, RECORDED = "claude", "command", "recorded"
# What may become a proposal: a claim that was accepted, or a command that ended with 0.
_ENDS: Final = {CLAUDE: "submitted", RECORDED: "submitted", COMMAND: "finished"}
# Limits are asked before each turn, and a turn that has begun is let finish.
_LAST_TURN: Final = 2
SKEW: Final = timedelta(minutes=5)
_ASSERTED: Final = "asserted by the runner"


def request_allowed(case: Case) -> str:
    """The request asks for nothing that the policy does not allow.

    Threat: an engine, model, prompt, sandbox or limit beyond the policy; flags narrow, they never widen.
    """
    reasons = rules.check_request(case.policy, case.request)
    require(not reasons, "; ".join(reasons))
    return "the policy allows what was asked for"


def engine(case: Case) -> str:
    """The engine that was asked for did the work, and the provenance has its facts and no other engine's.

    Threat: a command or a recording passed off as a model's work, or the other way round.
    """
    ran, asked = case.provenance, case.request.engine
    equal("the engine", the_request=asked.name, the_provenance=ran.engine)
    facts = {"model": ran.model, "prompt": ran.prompt, "command": ran.command, "recording": ran.recording}
    wanted = {CLAUDE: {"model", "prompt"}, COMMAND: {"command"}, RECORDED: {"recording"}}[ran.engine]
    present = {name for name, value in facts.items() if value is not None}
    missing, extra = (
        sorted(wanted - present),
        sorted(present - wanted - ({"prompt"} if ran.engine == RECORDED else set())),
    )
    require(not missing, f"the engine {ran.engine} has to name its {' and '.join(missing)}")
    require(not extra, f"the engine {ran.engine} has no {' and '.join(extra)} to name")
    if ran.command is not None:
        equal("the command", the_request=asked.command, the_provenance=ran.command.argv)
        digest = strict.sha256(strict.canonical(list(ran.command.argv)))
        equal("the command's digest", its_argv=digest, the_provenance=ran.command.sha256)
    if ran.recording is not None:
        equal("the recording", the_request=asked.transcript, the_provenance=ran.recording)
    return f"{_ASSERTED}: {ran.engine}, as asked"


def model(case: Case) -> str:
    """The model that was asked for is allowed, and so is every one that answered, at an endpoint that is listed.

    Threat: another model, or a stranger's endpoint that answers in its name.
    """
    ran = case.provenance.model
    if ran is None:
        raise Skip("no model took part")
    if case.request.engine.model is not None:
        equal("the model", the_request=case.request.engine.model, the_provenance=ran.requested)
    for name in (ran.requested, *ran.served):
        require(rules.matches_any(case.policy.models.allow, name), f"the policy does not allow the model {name!r}")
    require(ran.served, "the provenance names no model that answered")
    if (reason := rules.endpoint_allowed(case.policy, ran.endpoint)) is not None:
        require(None, reason)
    return f"{_ASSERTED}: {ran.requested} at {ran.endpoint}"


def prompt(case: Case) -> str:
    """The prompt is a frozen one that the policy lists, by name and by its text's digest.

    Threat: another text under a trusted name. Could not tell, when this installation does not know the prompt.
    """
    ran = case.provenance.prompt
    if ran is None:
        raise Skip("no prompt took part")
    if case.request.engine.prompt is not None:
        equal("the prompt", the_request=case.request.engine.prompt, the_provenance=ran.name)
    require(rules.matches_any(case.policy.models.prompts, ran.name), f"the policy does not allow the prompt {ran.name}")
    known = case.inputs.prompts.get(ran.name)
    if known is None:
        raise UnavailableError(
            f"this installation does not know the prompt {ran.name}: it may be older than the runner's"
        )
    equal("the prompt's text", this_installation=known, the_provenance=ran.sha256)
    return f"{_ASSERTED}: {ran.name}, the frozen text"


def tools(case: Case) -> str:
    """The agent had no tool that the policy does not allow.

    Threat: a shell, or a tool nobody decided about.
    """
    if case.provenance.engine == COMMAND:
        raise Skip("a command has no tools")
    others = sorted(set(case.provenance.tools) - set(case.policy.tools))
    require(not others, f"the policy does not allow the tools {', '.join(others)}")
    return f"{_ASSERTED}: {', '.join(case.provenance.tools) or 'none'}"


def sandbox(case: Case) -> str:
    """The sandbox is one that the policy allows, and its host could enforce what the policy requires.

    Threat: a run without walls, or with weaker ones than were decided.
    """
    box, wanted = case.provenance.sandbox, case.policy.sandbox
    equal("the sandbox", the_request=case.request.sandbox, the_provenance=box.backend)
    require(box.backend in wanted.backends, f"the policy does not allow the sandbox {box.backend}")
    if wanted.runtime is not None:
        equal("the sandbox's runtime", the_policy=wanted.runtime, the_provenance=box.runtime)
    lacking = sorted(set(wanted.require) & set(box.unenforced))
    require(not lacking, f"the runner's host could not enforce {', '.join(lacking)}, which the policy requires")
    return f"{_ASSERTED}: {box.backend}, no network, no credentials"


def image(case: Case) -> str:
    """The sandbox ran the image that the landed configuration locks.

    Threat: an image of the runner's own making.
    """
    name, ran = case.policy.sandbox.image, case.provenance.sandbox.image
    locked = case.inputs.images.images.get(name)
    require(locked is not None, f"the image {name!r} that the policy names is not in the images lock")
    require(
        locked is not None and locked.identity == ran, f"the run used image {ran[:12]}, which is not the locked {name}"
    )
    return f"{_ASSERTED}: {name} {ran[:12]}"


def limits(case: Case) -> str:
    """The run stayed within what was asked, but for the turn in which it noticed.

    Threat: a run without bounds.
    """
    used, most = case.provenance.usage, case.request.limits
    require(int(used.steps) <= most.steps, f"{counted(int(used.steps), 'step')} of {most.steps}")
    tokens = int(used.input_tokens) + int(used.output_tokens) + int(used.cache_read_tokens)
    for name, amount, limit in (
        ("seconds", Decimal(used.seconds), Decimal(most.seconds)),
        ("US dollars", Decimal(used.usd), Decimal(most.usd)),
        ("tokens", Decimal(tokens), Decimal(case.policy.limits.tokens)),
    ):
        require(amount <= limit * _LAST_TURN, f"the run used {amount} {name}; the limit was {limit}")
    return f"{_ASSERTED}: {counted(int(used.steps), 'step')}, {used.seconds} s, {used.usd} USD"


def transcript(case: Case) -> str:
    """The transcript is whole, is the one that was signed, and ended with something to propose.

    Threat: a transcript that was cut, altered or exchanged; a proposal from a run that failed or ran out.
    """
    if "transcript" in case.errors:
        require(None, case.errors["transcript"])
    ran, end = case.provenance, case.transcript[-1]
    equal("the transcript's SHA-256", the_record=case.sha256(case.inputs.transcript), the_provenance=ran.transcript)
    equal("the number of its records", the_record=len(case.transcript), the_provenance=ran.transcript_records)
    equal("the outcome", the_transcript=end["outcome"], the_provenance=ran.outcome)
    require(ran.outcome == _ENDS[ran.engine], f"the run ended with {ran.outcome!r}, which proposes nothing")
    _header(case, case.transcript[0])
    _command(case)
    return f"{_ASSERTED}: whole, {counted(len(case.transcript), 'record')}, ended with {ran.outcome!r}"


def _header(case: Case, header: dict[str, Any]) -> None:
    """The transcript's first record says what the provenance says."""
    ran = case.provenance
    signed: dict[str, Any] = {
        "engine": ran.engine,
        "request": ran.request,
        "task": ran.task,
        "tools": list(ran.tools),
        "tools_digest": ran.tools_digest,
    }
    if ran.model is not None:
        signed |= {"model": ran.model.requested, "endpoint": ran.model.endpoint, "api_version": ran.model.api_version}
    if ran.prompt is not None:
        signed |= {"prompt": ran.prompt.name, "prompt_digest": ran.prompt.sha256}
    if ran.command is not None:
        signed |= {"command": list(ran.command.argv)}
    if ran.recording is not None:
        signed |= {"recording": ran.recording}
    for name, value in signed.items():
        equal(f"{name} of the run", the_transcript=header.get(name), the_provenance=value)


def _command(case: Case) -> None:
    """The transcript's record of a command says what the provenance says."""
    command = case.provenance.command
    if command is not None:
        ran = [record for record in case.transcript if record["type"] == "command"]
        require(len(ran) == 1, f"the transcript has {len(ran)} commands; exactly one ran")
        equal("the command", the_transcript=tuple(ran[0]["argv"]), the_provenance=command.argv)
        equal("the command's exit code", the_transcript=ran[0]["code"], the_provenance=command.code)
        equal("the command's output", the_transcript=ran[0]["output_digest"], the_provenance=command.output)


def times(case: Case) -> str:
    """Asked, started, finished, and now follow each other, but for what two machines' clocks may differ by.

    Threat: documents made for another day. (Order among proposals is the log's, never a date's.) Could not tell, when
    the run finished after now: this machine's clock may be slow, and a rejection would be final.
    """
    asked, started = moments.parse(case.request.created), moments.parse(case.provenance.started)
    finished = moments.parse(case.provenance.finished)
    require(asked - started <= SKEW, f"the run started at {case.provenance.started}, before it was asked for")
    require(started <= finished, "the run finished before it started")
    if finished - case.inputs.now > SKEW:
        raise UnavailableError(
            f"the run finished at {case.provenance.finished}, which is in the future: look at this machine's clock"
        )
    return f"{_ASSERTED}: {case.provenance.started} to {case.provenance.finished}"
