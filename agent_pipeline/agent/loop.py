"""The loop: ask, carry out, answer, until an end.

Every stop reason has its end; one that is not known stops the run. Limits are looked at before each turn. Nothing the
model says raises: what it asks for wrongly comes back to it as an error, and what ends a run is an `End`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from agent_pipeline.agent import wire
from agent_pipeline.agent.outcome import End, Outcome
from agent_pipeline.agent.recorder import Recorder
from agent_pipeline.agent.render import NUDGE, Rendered
from agent_pipeline.agent.source import Source, Stopped, Turn
from agent_pipeline.agent.tools.submit import MOST_ATTEMPTS, Submit
from agent_pipeline.mediator.budget import Budget
from agent_pipeline.mediator.events import Event, Sink
from agent_pipeline.mediator.gate import Gate, Result
from agent_pipeline.mediator.visible import visible

_FINAL: Final = {
    "refusal": (Outcome.REFUSAL, "the model refused"),
    "max_tokens": (Outcome.MAX_TOKENS, f"one answer was longer than {wire.MAX_TOKENS} tokens"),
    "model_context_window_exceeded": (Outcome.CONTEXT, "the conversation no longer fits the model's context"),
}
_WORDS: Final = 1000
_CONTINUING: Final = ("tool_use", "pause_turn", "end_turn")


@dataclass(slots=True)
class Loop:
    """One run. `submit` is the tool among the gate's that ends it."""

    source: Source
    gate: Gate
    submit: Submit
    budget: Budget
    recorder: Recorder
    sink: Sink
    prompt: Rendered
    told: bool = False

    def run(self) -> End:
        """Go to the end. Raises what the source raises, `SandboxError`, and lets an interrupt pass."""
        messages = [wire.text(self.prompt.user)]
        while True:
            limit = self.budget.exceeded()
            if limit is not None:
                return self._end(Outcome(limit), self.budget.explain(limit))
            try:
                turn = self._ask(messages)
            except Stopped as stopped:
                return self._end(stopped.outcome, stopped.detail)
            end = self._take(turn, messages)
            if end is not None:
                return end

    def _ask(self, messages: list[dict[str, Any]]) -> Turn:
        request = wire.body(self.prompt.system, self.gate.definitions, messages)
        request_digest = wire.digest(request)
        self.budget.steps += 1
        step = self.budget.steps
        turn = self.source.answer(request, request_digest, step)
        self.budget.charge(turn.usage)
        self.recorder.add(turn.record(step, request_digest))
        for note in turn.notes:
            self.recorder.note("answer", f"step {step}: {note}")
        self._tell("turn", _said(turn))
        return turn

    def _take(self, turn: Turn, messages: list[dict[str, Any]]) -> End | None:
        """Act on an answer: add what comes next to `messages`, or return the end."""
        if turn.stop_reason in _FINAL:
            outcome, detail = _FINAL[turn.stop_reason]
            category = (turn.stop_details or {}).get("category")
            return self._end(outcome, detail + (f" ({visible(str(category), 60)})" if category else ""))
        if turn.stop_reason not in _CONTINUING:
            return self._end(
                Outcome.UNKNOWN_STOP, f"the model stopped for a reason unknown here: {visible(turn.stop_reason)}"
            )
        if turn.content:  # an empty message cannot be sent back
            messages.append({"role": "assistant", "content": list(turn.content)})
        calls = [block for block in turn.content if block["type"] == "tool_use"]
        if calls:
            messages.append({"role": "user", "content": self._carry_out(calls)})
            return self._submitted()
        if turn.stop_reason == "pause_turn":
            return None
        if self.told:
            outcome = Outcome.MISMATCH if self.submit.mismatched else Outcome.ENDED
            return self._end(outcome, _last_words(turn) or "the model ended without submitting")
        self.told = True
        messages.append(wire.text(NUDGE))
        return None

    def _submitted(self) -> End | None:
        if self.submit.accepted is not None:
            return self._end(Outcome.SUBMITTED, "")
        if self.submit.mismatches >= MOST_ATTEMPTS:
            return self._end(Outcome.MISMATCH, f"{MOST_ATTEMPTS} submissions did not match what changed")
        return None

    def _carry_out(self, calls: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Carry out the calls in order; after an accepted submission nothing is carried out any more."""
        results = []
        for call in calls:
            if self.submit.accepted is not None:
                result = Result(ok=False, content="not carried out: the proposal was already accepted")
            else:
                result = self.gate.call(call["name"], call["input"])
            self._record(call, result)
            results.append(wire.tool_result(call["id"], result.content, ok=result.ok))
        return results

    def _record(self, call: dict[str, Any], result: Result) -> None:
        step = self.budget.steps
        record: dict[str, Any] = {
            "type": "tool",
            "step": step,
            "id": call["id"],
            "name": call["name"],
            "ok": result.ok,
            "content": result.content,
        }
        if result.truncated:
            record["truncated"] = True
        self.recorder.add(record)
        for what, count in result.redacted.items():
            self.recorder.note("redacted", f"step {step}: {count} x {what} taken out of a result of {call['name']}")
        remarkable = self.source.witness(record)
        if remarkable is not None:
            self.recorder.note("difference", remarkable)
        self._tell(
            "tool", f"{call['name']} {_about(call['input'])}".rstrip() + ("" if result.ok else ": refused or failed")
        )

    def _end(self, outcome: Outcome, detail: str) -> End:
        self.source.finish(outcome)
        self._tell("end", f"{outcome}: {detail}" if detail else str(outcome))
        return End(outcome, detail, self.submit.accepted if outcome is Outcome.SUBMITTED else None)

    def _tell(self, kind: str, line: str) -> None:
        self.sink(Event(kind, self.budget.steps, visible(line), self.budget.usd, self.budget.tokens))


def _said(turn: Turn) -> str:
    """Return the first line of what the model said, for progress."""
    words = next((block["text"] for block in turn.content if block["type"] == "text" and block["text"].strip()), "")
    return words.strip().split("\n")[0]


def _last_words(turn: Turn) -> str:
    return visible(" ".join(block["text"] for block in turn.content if block["type"] == "text"), _WORDS)


def _about(arguments: Any) -> str:  # noqa: ANN401 - whatever a model sent
    """Return what a call is about in one line, for progress."""
    if not isinstance(arguments, dict):
        return ""
    parts = [arguments.get(name) for name in ("command", "path", "name")]
    return visible(" ".join(part for part in parts if isinstance(part, str)), 120)
