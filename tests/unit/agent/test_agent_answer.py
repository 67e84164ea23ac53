"""The reader of a model's answer, fed with anything."""

from types import SimpleNamespace
from typing import Any

import pytest
from anthropic.types import RawMessageStreamEvent
from anthropic.types.raw_content_block_delta_event import RawContentBlockDeltaEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from support.messages_peer import MODEL, events, whole
from support.scripted import call, say, turn

from agent_pipeline.agent.answer import Collector, MalformedError, check_blocks
from agent_pipeline.agent.source import Turn
from agent_pipeline.documents import strict, transcript

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


class Block:
    """What the SDK would hold of a block: an object that gives back what came."""

    def __init__(self, value: dict[str, Any]) -> None:
        self.value = value

    def to_dict(self, **_: object) -> dict[str, Any]:
        return dict(self.value)


def read(block: dict[str, Any], raw: str = "") -> Turn:
    ours = Collector()
    if raw:
        delta = {"type": "input_json_delta", "partial_json": raw}
        ours.take(
            RawContentBlockDeltaEvent.construct(type="content_block_delta", index=0, delta=SimpleNamespace(**delta))
        )
    ours.take(SimpleNamespace(type="message_stop"))
    message = SimpleNamespace(
        content=[Block(block)], stop_reason="tool_use", model=MODEL, id="msg_1", stop_details=None
    )
    return ours.turn(message, "req_1")


def test_an_input_is_read_from_its_text() -> None:
    found = read({"type": "tool_use", "id": "t", "name": "bash", "input": {"partial": 1}}, '{"command": "ls"}')
    assert found.content[0]["input"] == {"command": "ls"}
    assert found.notes == ()


@given(st.text())
def test_any_input_text_is_an_object_that_can_be_recorded(raw: str) -> None:
    found = read({"type": "tool_use", "id": "t", "name": "bash", "input": {}}, raw)
    assert isinstance(found.content[0]["input"], dict)
    line = transcript.line(found.record(1, "0" * 64))
    assert strict.parse(line, what="the line")["content"][0] == found.content[0]


@given(JSON)
@settings(max_examples=200)
def test_any_block_is_taken_or_refused(value: Any) -> None:
    for block in ({"type": "tool_use", "id": "t", "name": "n", "input": value}, {"type": "text", "text": value}):
        try:
            found = read(block)
        except MalformedError:
            continue
        strict.parse(transcript.line(found.record(1, "0" * 64)), what="the line")


@pytest.mark.parametrize(
    "kind", ["server_tool_use", "web_search_tool_result", "container_upload", "mcp_tool_use", None, 1]
)
def test_blocks_of_other_kinds_are_refused(kind: Any) -> None:
    with pytest.raises(MalformedError, match="was not asked for"):
        check_blocks([{"type": kind}])


def test_an_answer_without_its_end_is_none() -> None:
    message = SimpleNamespace(content=[], stop_reason="end_turn", model=MODEL, id="msg_1", stop_details=None)
    with pytest.raises(MalformedError, match="ended before"):
        Collector().turn(message, None)


def test_the_peers_events_are_those_of_the_sdk() -> None:
    from pydantic import TypeAdapter  # noqa: PLC0415

    adapter: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
    message = whole(turn(say("Hello"), call("bash", {"command": "ls"})), 1, MODEL)
    message["content"].append({"type": "thinking", "thinking": "hm", "signature": "c2ln"})
    for event in events(message):
        adapter.validate_python(event)
