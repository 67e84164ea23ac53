"""The engine `recorded`: a transcript's turns are answered instead of a model's, through the same loop.

Everything but the contents of tool results must match: the prompt, the tools, each request, and whether each tool call
succeeded. What a tool said may differ; each difference is named. No model is asked, and none is claimed.
"""

from __future__ import annotations

from typing import Any, Final

from agent_pipeline.agent.answer import MalformedError, check_blocks
from agent_pipeline.agent.outcome import Outcome
from agent_pipeline.agent.source import Stopped, Turn
from agent_pipeline.documents import strict, transcript
from agent_pipeline.documents.words import counted
from agent_pipeline.errors import CheckError, SchemaError, UsageError

# Limits are the run's own, not the recording's; a recording that ended at one simply has no more turns.
_LIMITS: Final = (Outcome.STEPS, Outcome.SECONDS, Outcome.TOKENS, Outcome.USD)


class Recording:
    """A transcript, read strictly. Raises `SchemaError` when it is not one, `UsageError` when it cannot be played."""

    def __init__(self, data: bytes) -> None:
        """Read all of it."""
        records = transcript.parse(data)
        self.sha256 = strict.sha256(data)
        self.header, self.end = records[0], records[-1]
        if self.header["engine"] == "command" or "prompt" not in self.header:
            raise UsageError("this is the transcript of a command; only a model's run can be played")
        self.turns = [record for record in records if record["type"] == "turn"]
        self._tools = {(record["step"], record["id"]): record for record in records if record["type"] == "tool"}
        self._check()

    @property
    def prompt(self) -> str:
        """The NAME@VERSION of the prompt that it was recorded with."""
        return str(self.header["prompt"])

    def tool(self, step: int, call: str) -> dict[str, Any] | None:
        """Return the record of a tool call."""
        return self._tools.get((step, call))

    def _check(self) -> None:
        for turn in self.turns:
            try:
                check_blocks(turn["content"])
            except MalformedError as error:
                raise SchemaError(f"step {turn['step']} of the transcript: {error}") from error

    def check_header(self, **ours: str) -> None:
        """Compare digests of the header with ours. Raises `CheckError` naming the first difference."""
        for name, value in ours.items():
            if self.header.get(name) != value:
                raise CheckError(
                    f"the recording does not fit this request: its {name} is {self.header.get(name)}, ours {value}",
                    hint="play it with the policy, prompt and version that it was recorded with",
                )


class Recorded:
    """A source of turns that plays a `Recording`. `differences` lists what tools said otherwise."""

    def __init__(self, recording: Recording) -> None:
        """Begin at the first turn."""
        self._recording, self._played = recording, 0
        self.differences: list[str] = []

    def answer(self, request: dict[str, Any], request_digest: str, step: int) -> Turn:
        """Return the next recorded answer when it was given to the same request. Raises `CheckError`, `Stopped`."""
        del request
        if self._played >= len(self._recording.turns):
            raise self._exhausted(step)
        turn = self._recording.turns[self._played]
        if turn["request_digest"] != request_digest:
            what = "the task, the checks or the paths of the policy" if step == 1 else "what happened before it"
            raise CheckError(
                f"step {step}: the recorded answer was given to another request; {what} differs",
                hint="play the recording on the base, the policy and the task that it was recorded with",
            )
        self._played += 1
        return Turn(
            content=tuple(turn["content"]),
            stop_reason=turn["stop_reason"],
            usage=turn["usage"],
            model=turn.get("model"),
            request_id=turn.get("request_id"),
            message_id=turn.get("message_id"),
            stop_details=turn.get("stop_details"),
        )

    def _exhausted(self, step: int) -> Exception:
        ended = self._recording.end["outcome"]
        if ended in _LIMITS:
            return Stopped(Outcome(ended), "the recorded run was stopped here by its limits")
        return CheckError(f"step {step}: the recording has no more answers; it ended with `{ended}`")

    def witness(self, record: dict[str, Any]) -> str | None:
        """Compare a tool call's result with the recorded one. Raises `CheckError` when one failed and one did not."""
        step, name = record["step"], record["name"]
        then = self._recording.tool(step, record["id"])
        if then is None:
            raise CheckError(f"step {step}: the recording has no result of {name} ({record['id']})")
        if then["ok"] != record["ok"]:
            was, now = ("succeeded", "failed") if then["ok"] else ("failed", "succeeded")
            raise CheckError(
                f"step {step}: {name} {was} in the recording and {now} here: {record['content'][:500]}",
                hint="play the recording on the base and in the image that it was recorded with",
            )
        if then["content"] == record["content"]:
            return None
        difference = f"step {step}: {name} said otherwise: {_first_difference(then['content'], record['content'])}"
        self.differences.append(difference)
        return difference

    def finish(self, outcome: Outcome) -> None:
        """Raise `CheckError` when the recording had more answers, unless a limit of this run came first."""
        left = len(self._recording.turns) - self._played
        if left and outcome not in _LIMITS:
            raise CheckError(f"the run ended with `{outcome}`, but the recording has {counted(left, 'more answer')}")


def _first_difference(then: str, now: str) -> str:
    for number, (a, b) in enumerate(zip(then.split("\n"), now.split("\n"), strict=False), 1):
        if a != b:
            return f"line {number}: {a[:120]!r} then, {b[:120]!r} now"
    return f"{len(then)} characters then, {len(now)} now"
