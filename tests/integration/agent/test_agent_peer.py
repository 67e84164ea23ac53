"""The peer of the Messages API itself: it must refuse what the real one refuses, or it proves nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from support.messages_peer import KEY, MODEL, Cut, MessagesPeer, Reply, Status
from support.messages_schema import problems
from support.scripted import call, say, turn

HELLO: list[Any] = [{"role": "user", "content": "hello"}]


def client(peer: MessagesPeer, **more: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key=KEY, base_url=peer.url, max_retries=0, **more)


def body(**changes: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 10, "messages": HELLO} | changes


def test_it_answers_with_json() -> None:
    with MessagesPeer([turn(say("hi"), call("bash", {"command": "ls"}))]) as peer, client(peer) as ours:
        message = ours.messages.create(model=MODEL, max_tokens=10, messages=HELLO)
    assert (message.content[0].text, message.stop_reason) == ("hi", "tool_use")  # type: ignore[union-attr]
    assert message.model == MODEL


def test_it_answers_with_events() -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    with MessagesPeer([turn(thinking, say("x" * 100))]) as peer, client(peer) as ours:
        with ours.messages.stream(model=MODEL, max_tokens=10, messages=HELLO) as stream:
            assert "".join(stream.text_stream) == "x" * 100
        assert stream.get_final_message().content[0].to_dict() == thinking


def test_it_answers_on_a_unix_socket(tmp_path: Path) -> None:
    place = tmp_path / "peer.sock"
    with MessagesPeer([turn(say("hi"))], uds=place):
        transport = httpx2.HTTPTransport(uds=str(place))
        http = anthropic.DefaultHttpxClient(transport=transport)
        with anthropic.Anthropic(api_key=KEY, base_url="http://localhost", http_client=http) as ours:
            message = ours.messages.create(model=MODEL, max_tokens=10, messages=HELLO)
    assert message.stop_reason == "end_turn"


def test_it_answers_what_a_function_says() -> None:
    def script(asked: dict[str, Any]) -> Reply:
        return turn(say(f"you said {asked['messages'][-1]['content']}"))

    with MessagesPeer(script) as peer, client(peer) as ours:
        message = ours.messages.create(model=MODEL, max_tokens=10, messages=HELLO)
    assert message.content[0].text == "you said hello"  # type: ignore[union-attr]


def test_it_keeps_a_journal() -> None:
    with MessagesPeer([turn(say("hi"))]) as peer, client(peer) as ours:
        ours.messages.create(model=MODEL, max_tokens=10, messages=HELLO)
    assert peer.journal[0].body["messages"] == HELLO
    assert peer.journal[0].headers["anthropic-version"] == "2026-10-21"


def test_its_script_ends() -> None:
    with MessagesPeer([]) as peer, client(peer) as ours, pytest.raises(anthropic.InternalServerError):
        ours.messages.create(model=MODEL, max_tokens=10, messages=HELLO)


def test_it_breaks_off() -> None:
    with (
        MessagesPeer([Cut(turn(say("hello")), 2)]) as peer,
        client(peer) as ours,
        ours.messages.stream(**body()) as got,
    ):
        next(iter(got))
        with pytest.raises(httpx2.RemoteProtocolError):
            got.until_done()


def test_it_says_errors_as_the_api_does() -> None:
    script = [Status(529, "overloaded_error", "Overloaded")]
    with MessagesPeer(script) as peer, client(peer) as ours, pytest.raises(anthropic.OverloadedError) as raised:
        ours.messages.create(model=MODEL, max_tokens=10, messages=HELLO)
    assert raised.value.type == "overloaded_error"


def test_it_refuses_a_wrong_key() -> None:
    with MessagesPeer([]) as peer:
        ours = anthropic.Anthropic(api_key="other", base_url=peer.url)
        with pytest.raises(anthropic.AuthenticationError):
            ours.messages.create(model=MODEL, max_tokens=10, messages=HELLO)


STRICT = {"name": "t", "strict": True, "input_schema": {"type": "object", "additionalProperties": False}}
USE = {"type": "tool_use", "id": "t1", "name": "t", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "ok"}


@pytest.mark.parametrize(
    "wrong",
    [
        body(temperature=0),
        body(top_p=1),
        body(max_tokens="many"),
        body(messages=[]),
        body(messages=[{"role": "system", "content": "x"}]),
        body(messages=[{"role": "assistant", "content": "x"}]),
        body(messages=[*HELLO, {"role": "assistant", "content": []}]),
        body(messages=[*HELLO, {"role": "assistant", "content": [USE]}]),
        body(messages=[{"role": "user", "content": [{"type": "text", "text": "\n"}]}]),
        body(messages=[*HELLO, {"role": "assistant", "content": [USE]}, {"role": "user", "content": [RESULT, RESULT]}]),
        body(messages=[{"role": "user", "content": [RESULT]}]),
        body(tools=[{"type": "bash_19990101", "name": "bash"}]),
        body(tools=[{"type": "bash_20250124", "name": "shell"}]),
        body(tools=[STRICT, STRICT]),
        body(tools=[STRICT | {"input_schema": {"type": "object"}}]),
        body(tools=[STRICT | {"input_schema": STRICT["input_schema"] | {"minItems": 1}}]),  # type: ignore[operator]
        body(output_config={"effort": "utmost"}),
        {"messages": HELLO},
        None,
        [],
    ],
)
def test_it_refuses_what_the_api_refuses(wrong: Any) -> None:
    assert problems(wrong)


@pytest.mark.parametrize(
    "right",
    [
        body(),
        body(stream=True, system="x", cache_control={"type": "ephemeral"}),
        body(messages=[*HELLO, {"role": "assistant", "content": [USE]}, {"role": "user", "content": [RESULT]}]),
        body(tools=[STRICT, {"type": "bash_20250124", "name": "bash"}]),
    ],
)
def test_it_takes_what_the_api_takes(right: Any) -> None:
    assert problems(right) == []
