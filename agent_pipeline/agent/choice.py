"""Which engine a request names, from what was asked and what the policy lists."""

from __future__ import annotations

from agent_pipeline.documents import strict
from agent_pipeline.documents.policy import Policy
from agent_pipeline.documents.request import EngineChoice
from agent_pipeline.errors import UsageError

CLAUDE, COMMAND, RECORDED = "claude", "command", "recorded"


def engine_choice(  # noqa: PLR0913 - one for each flag of the command line
    policy: Policy,
    name: str | None,
    *,
    kind: str,
    model: str | None,
    prompt: str | None,
    command: tuple[str, ...],
    recording: bytes | None,
) -> EngineChoice:
    """Return the choice. Raises `UsageError` for flags that do not belong together."""
    name = name or (COMMAND if command else RECORDED if recording is not None else CLAUDE)
    if command and name != COMMAND:
        raise UsageError(f"a command after -- belongs to --engine command, not {name}", hint="leave one of them out")
    if recording is not None and name != RECORDED:
        raise UsageError(f"--transcript belongs to --engine recorded, not {name}", hint="leave one of them out")
    if model is not None and name != CLAUDE:
        raise UsageError(f"--model belongs to --engine claude, not {name}", hint="leave one of them out")
    if name == COMMAND:
        if not command:
            raise UsageError("--engine command wants a command", hint="put it last: -- COMMAND...")
        return EngineChoice(name, command=command)
    chosen = prompt or _newest(policy, kind)
    if name == RECORDED:
        if recording is None:
            raise UsageError("--engine recorded wants --transcript FILE", hint="give a run's transcript.jsonl")
        return EngineChoice(name, prompt=chosen, transcript=strict.sha256(recording))
    if not policy.models.allow:
        raise UsageError(
            "the policy allows no model (models.allow)", hint="the operator lists the models that may be used"
        )
    return EngineChoice(name, model=model or policy.models.allow[0], prompt=chosen)


def _newest(policy: Policy, kind: str) -> str:
    """Return the newest prompt of this kind that the policy lists."""
    versions = [prompt for prompt in policy.models.prompts if prompt.rpartition("@")[0] == kind]
    if not versions:
        raise UsageError(f"the policy lists no prompt for `{kind}` (models.prompts)", hint="name another with --prompt")
    return max(versions, key=lambda prompt: int(prompt.rpartition("@")[2]))
