"""One streamed answer of the Messages API, taken in and checked.

What arrives is hostile. The SDK builds its objects without validating them and completes cut-off JSON on its own, so
that an interrupted tool call could look like a whole one: tool inputs are therefore read from the raw text, strictly,
and an answer without its end is no answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from agent_pipeline.agent.source import Turn
from agent_pipeline.documents import strict, transcript
from agent_pipeline.errors import SchemaError
from agent_pipeline.mediator.budget import COUNTED

# Server tools run outside our sandbox and are never offered; a block of theirs, or of an unknown kind, ends the run.
_BLOCKS: Final = ("text", "thinking", "redacted_thinking", "tool_use")
_INVALID: Final = "INVALID_JSON"


class MalformedError(Exception):
    """The answer is not one: an event is missing, out of order or not of its form."""


class Collector:
    """Follows the events of one stream."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._inputs: dict[int, str] = {}
        self.complete = False
        self.usage: dict[str, int] = {}

    def take(self, event: Any) -> None:  # noqa: ANN401 - an event of the SDK, not validated
        """Look at one event. Raises `MalformedError`."""
        if event.type == "content_block_delta" and event.delta.type == "input_json_delta":
            self._inputs[event.index] = self._inputs.get(event.index, "") + event.delta.partial_json
        elif event.type == "message_start":
            self.usage = _usage(event.message.usage)
        elif event.type == "message_delta":
            self.usage |= _usage(event.usage)
        elif event.type == "message_stop":
            self.complete = True

    def turn(self, message: Any, request_id: str | None) -> Turn:  # noqa: ANN401 - a message of the SDK, not validated
        """Return the checked answer. Raises `MalformedError`."""
        if not self.complete or not isinstance(message.stop_reason, str):
            raise MalformedError("the stream ended before the answer did")
        content = [_plain(block) for block in message.content]
        notes = [self._settle(block, index) for index, block in enumerate(content)]
        check_blocks(content)
        turn = Turn(
            # A text of nothing says nothing, and the service refuses to take one back.
            content=tuple(block for block in content if block["type"] != "text" or block["text"].strip()),
            stop_reason=message.stop_reason,
            usage=self.usage,
            model=message.model,
            request_id=request_id,
            message_id=message.id,
            stop_details=None if message.stop_details is None else _plain(message.stop_details),
            notes=tuple(note for note in notes if note is not None),
        )
        _check_recordable(turn)
        return turn

    def _settle(self, block: dict[str, Any], index: int) -> str | None:
        """Read a tool call's input from its raw text; what is not strict JSON becomes an input that every tool refuses.

        The wrapping is the provider's own advice for sending invalid JSON back.
        """
        if block.get("type") != "tool_use":
            return None
        raw = self._inputs.get(index, "")
        try:
            block["input"] = _object(block.get("input")) if not raw else _read_input(raw)
        except (SchemaError, UnicodeError) as error:
            block["input"] = {_INVALID: raw.encode("utf-8", "backslashreplace").decode("utf-8")}
            return f"the input of {block.get('name')} is not strict JSON: {str(error)[:200]}"
        return None


def _read_input(raw: str) -> dict[str, Any]:
    data = raw.encode("utf-8")
    value = _object(strict.parse(data, what="the input", max_bytes=transcript.MAX_BYTES))
    # It will stand four levels deep in the transcript, whose reader limits depth.
    strict.parse(b"[[[[" + data + b"]]]]", what="the input", max_bytes=transcript.MAX_BYTES)
    return value


def _object(value: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    if not isinstance(value, dict):
        raise SchemaError("the input is not an object")
    return value


def check_blocks(content: Iterable[dict[str, Any]]) -> None:
    """Refuse blocks that the loop does not know. Raises `MalformedError`."""
    for block in content:
        kind = block.get("type")
        if kind not in _BLOCKS:
            raise MalformedError(f"it holds a block of the kind {str(kind)[:60]!r}, which was not asked for")
        if kind == "text" and not isinstance(block.get("text"), str):
            raise MalformedError("a text block has no text")
        if kind == "tool_use" and not all(isinstance(block.get(name), str) for name in ("id", "name")):
            raise MalformedError("a tool call has no id or no name")
        if kind == "tool_use" and "input" not in block:
            raise MalformedError("a tool call has no input")


def _plain(model: Any) -> dict[str, Any]:  # noqa: ANN401 - an object of the SDK, not validated
    """Return the object as it came: nothing added, nothing left out."""
    value: dict[str, Any] = model.to_dict(mode="json", warnings=False)  # what is wrong in it is found below
    return value


def _usage(usage: Any) -> dict[str, int]:  # noqa: ANN401 - an object of the SDK, not validated
    counts = {name: getattr(usage, name, None) for name in COUNTED}
    for name, count in counts.items():
        if count is not None and (not isinstance(count, int) or not 0 <= count <= strict.MAX_INTEGER):
            raise MalformedError(f"{name} is {count!r}")
    return {name: count for name, count in counts.items() if count is not None}


def _check_recordable(turn: Turn) -> None:
    """Make sure that the transcript can hold it and its reader reads it."""
    try:
        strict.parse(transcript.line(turn.record(1, "0" * 64)), what="the answer", max_bytes=transcript.MAX_BYTES)
    except SchemaError as error:
        raise MalformedError(f"it cannot be recorded: {error.message}") from error
