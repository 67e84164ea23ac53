"""The engine `claude` against a peer of the Messages API, through the SDK as it is."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from support.agent_cases import FILES, claude_job, policy, request
from support.local_sandbox import LocalSandbox
from support.messages_peer import (
    KEY,
    MODEL,
    Cut,
    Hangup,
    MessagesPeer,
    Pings,
    Raw,
    Reply,
    Scripted,
    Status,
    events,
    whole,
)
from support.scripted import call, edit, run_check, say, submit, turn, view

from agent_pipeline.agent.outcome import Outcome, RunOutcome
from agent_pipeline.agent.run import run
from agent_pipeline.documents import transcript
from agent_pipeline.documents.request import EngineChoice, Limits
from agent_pipeline.errors import ModelError, PolicyError, UsageError

MEND = edit("src/add.py", "a - b", "a + b")
DONE = [turn(MEND), turn(submit(["src/add.py"]))]


class Ran:
    """One run: its outcome or error, the peer's journal and the transcript."""

    def __init__(self, *script: Scripted, **changes: Any) -> None:
        self.lines: list[bytes] = []
        self.error: Exception | None = None
        started = time.monotonic()
        with LocalSandbox(FILES) as sandbox, MessagesPeer(script) as peer:
            changes = {name: value(peer) if callable(value) else value for name, value in changes.items()}
            job = claude_job(peer, sandbox, record=self.lines.append, **changes)
            try:
                self.outcome: RunOutcome | None = run(job, sandbox)
            except (ModelError, PolicyError, UsageError) as error:
                self.outcome, self.error = None, error
            self.journal = peer.journal
            self.changed = sandbox.changed()
        self.seconds = time.monotonic() - started
        self.records = transcript.parse(b"".join(self.lines)) if self.lines else []

    @property
    def ended(self) -> Outcome:
        assert self.outcome is not None, self.error
        return self.outcome.outcome

    def failed(self) -> ModelError:
        assert isinstance(self.error, ModelError)
        assert self.error.hint
        assert self.records[-1]["type"] == "end"
        assert self.records[-1]["outcome"] == "error"
        return self.error

    def notes(self, event: str) -> list[str]:
        return [item["detail"] for item in self.records if item["type"] == "note" and item["event"] == event]


def test_a_whole_run() -> None:
    ran = Ran(
        turn(say("Looking."), view("src/add.py")),
        turn(MEND, run_check()),
        turn(submit(["src/add.py"], checks=["quick"])),
    )
    assert ran.ended is Outcome.SUBMITTED
    assert ran.changed == ("src/add.py",)
    assert [entry.problems for entry in ran.journal] == [()] * 3
    assert ran.outcome is not None
    assert ran.outcome.model is not None
    assert ran.outcome.model.served == (MODEL,)
    assert ran.outcome.usage.input_tokens == "300"
    assert ran.outcome.usage.output_tokens == "30"
    assert ran.outcome.usage.usd == "0.0009"
    assert [item["request_id"] for item in ran.records if item["type"] == "turn"] == [
        "req_0001",
        "req_0002",
        "req_0003",
    ]


def test_what_is_sent() -> None:
    ran = Ran(*DONE)
    first, second = ran.journal
    assert first.headers["authorization"] == f"Bearer {KEY}"
    assert first.headers["anthropic-version"] == "2026-10-21"
    assert "anthropic-beta" not in first.headers
    assert set(first.body) == {"model", "max_tokens", "system", "tools", "messages", "cache_control", "stream"}
    assert [tool["name"] for tool in first.body["tools"]] == [
        "str_replace_based_edit_tool", "bash", "run_check", "submit_proposal",
    ]  # fmt: skip
    assert second.body["messages"][:1] == first.body["messages"]
    assert ran.records[0]["api_version"] == "2026-10-21"


def test_the_key_is_in_no_transcript() -> None:
    assert KEY.encode() not in b"".join(Ran(*DONE).lines)


def test_thinking_goes_back_unmodified() -> None:
    thinking = {"type": "thinking", "thinking": "Hm. " * 50, "signature": "c2lnbmF0dXJl" * 10}
    redacted = {"type": "redacted_thinking", "data": "ZGF0YQ=="}
    ran = Ran(turn(thinking, redacted, say("Now"), MEND), turn(submit(["src/add.py"])))
    assert ran.journal[1].body["messages"][1]["content"][:2] == [thinking, redacted]
    assert ran.journal[1].problems == ()


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply([say("No.")], "refusal", stop_details={"type": "refusal", "category": "cyber"}), Outcome.REFUSAL),
        (Reply([say("And then")], "max_tokens"), Outcome.MAX_TOKENS),
        (Reply([say("And")], "model_context_window_exceeded"), Outcome.CONTEXT),
        (Reply([say("And")], "stop_sequence"), Outcome.UNKNOWN_STOP),
        (Reply([say("And")], "something_new"), Outcome.UNKNOWN_STOP),
    ],
)
def test_every_other_stop_reason_is_an_end(reply: Reply, expected: Outcome) -> None:
    ran = Ran(reply)
    assert ran.ended is expected
    assert len(ran.journal) == 1


def test_a_refusal_says_its_category() -> None:
    ran = Ran(Reply([], "refusal", stop_details={"type": "refusal", "category": "cyber", "explanation": "x"}))
    assert ran.outcome is not None
    assert ran.outcome.detail == "the model refused (cyber)"


def test_ending_without_submitting_is_told_once() -> None:
    ran = Ran(turn(say("Done.")), turn(say("As I said.")))
    assert ran.ended is Outcome.ENDED
    assert "You have not submitted" in ran.journal[1].body["messages"][2]["content"][0]["text"]
    assert len(ran.journal) == 2


def test_a_pause_continues_with_what_was_said() -> None:
    ran = Ran(Reply([say("Wait")], "pause_turn"), *DONE)
    assert ran.ended is Outcome.SUBMITTED
    assert [message["role"] for message in ran.journal[1].body["messages"]] == ["user", "assistant"]


def test_an_unknown_tool_goes_back_as_an_error() -> None:
    ran = Ran(turn(call("web_fetch", {"url": "https://example.org"})), *DONE)
    assert ran.ended is Outcome.SUBMITTED
    result = ran.journal[1].body["messages"][2]["content"][0]
    assert result["is_error"] is True
    assert "there is no tool `web_fetch`" in result["content"]


@pytest.mark.parametrize(
    "raw",
    [
        '{"command": "view", "path": "src/a',
        '{"command": "view", "command": "create", "path": "src/x"}',
        "[1, 2]",
        '"view"',
        '{"x": 1e999}',
        '{"x": NaN}',
        '{"x": ' + "[" * 62 + "]" * 62 + "}",
        '{"x": 99999999999999999999}',
    ],
)
def test_malformed_tool_input_goes_back_as_an_error(raw: str) -> None:
    broken = {"type": "tool_use", "id": "toolu_x", "name": "str_replace_based_edit_tool", "input": raw}
    ran = Ran(turn(broken), *DONE)
    assert ran.ended is Outcome.SUBMITTED
    assert ran.journal[1].body["messages"][2]["content"][0]["is_error"] is True
    assert ran.journal[1].problems == ()
    assert ran.changed == ("src/add.py",)
    assert len(ran.notes("answer")) == 1


@pytest.mark.parametrize("raw", ["{nope}", '{"x": "\\ud800"}'])
def test_tool_input_that_is_no_json_at_all_loses_the_answer(raw: str) -> None:
    """The SDK itself gives up on such a stream."""
    broken = {"type": "tool_use", "id": "toolu_x", "name": "str_replace_based_edit_tool", "input": raw}
    ran = Ran(turn(broken), *DONE)
    assert ran.ended is Outcome.SUBMITTED
    assert len(ran.notes("lost answer")) == 1


def test_a_text_of_nothing_is_not_sent_back() -> None:
    ran = Ran(turn(say(" \n"), MEND), turn(say("")), turn(submit(["src/add.py"])))
    assert ran.ended is Outcome.SUBMITTED
    assert [len(message["content"]) for message in ran.journal[2].body["messages"]] == [1, 1, 1, 1]
    assert [entry.problems for entry in ran.journal] == [()] * 3


def test_a_proposal_that_breaks_its_schema_goes_back() -> None:
    ran = Ran(turn(call("submit_proposal", {"summary": "", "files": "all"})), *DONE)
    assert ran.ended is Outcome.SUBMITTED
    assert "the proposal is not valid" in ran.journal[1].body["messages"][2]["content"][0]["content"]


def test_many_calls_in_one_answer_are_all_answered() -> None:
    ran = Ran(turn(view("README"), view("none"), MEND), turn(submit(["src/add.py"])))
    answers = ran.journal[1].body["messages"][2]["content"]
    assert [answer["is_error"] for answer in answers] == [False, True, False]


def test_steps_are_limited() -> None:
    ran = Ran(*[turn(view("README"))] * 5, request=request(limits=Limits(2, 30, "1")))
    assert (ran.ended, len(ran.journal)) == (Outcome.STEPS, 2)


def test_money_is_limited() -> None:
    dear = Reply([view("README")], usage={"input_tokens": 100_000, "output_tokens": 1})
    ran = Ran(dear, dear, dear, request=request(limits=Limits(9, 30, "0.3")))
    assert (ran.ended, len(ran.journal)) == (Outcome.USD, 2)
    assert ran.outcome is not None
    assert ran.outcome.usage.usd == "0.40002"


def test_tokens_are_limited() -> None:
    def tight(peer: MessagesPeer) -> Any:
        limits = {"steps": 50, "seconds": 60, "usd": "5", "tokens": 200, "files": 20, "bytes": 100_000}
        models = {"allow": [MODEL], "endpoints": [peer.url], "prompts": ["fix@1"]}
        return policy(limits=limits, models=models)

    ran = Ran(*[turn(view("README"))] * 5, policy=tight)
    assert (ran.ended, len(ran.journal)) == (Outcome.TOKENS, 2)


def test_time_is_limited_within_an_answer() -> None:
    ran = Ran(Reply([say("x" * 4000)], pause=0.1), request=request(limits=Limits(9, 1, "1")))
    assert ran.ended is Outcome.SECONDS
    assert ran.seconds < 4


def test_time_is_limited_though_pings_arrive() -> None:
    ran = Ran(Pings(30), request=request(limits=Limits(9, 1, "1")))
    assert ran.ended is Outcome.SECONDS
    assert ran.seconds < 4


def test_time_is_limited_though_nothing_arrives() -> None:
    ran = Ran(Pings(30, every=30), request=request(limits=Limits(9, 1, "1")))
    assert ran.ended is Outcome.SECONDS
    assert ran.seconds < 4


@pytest.mark.parametrize("code", [429, 500, 529])
def test_passing_troubles_are_tried_again(code: int) -> None:
    ran = Ran(Status(code, headers={"retry-after-ms": "10"}), *DONE)
    assert ran.ended is Outcome.SUBMITTED
    assert ran.notes("attempt") == [f"step 1, attempt 1: HTTP {code}, request req_error"]
    assert ran.journal[1].headers["x-stainless-retry-count"] == "1"
    assert ran.notes("attempts") == ["3 requests were sent for 2 steps"]


@pytest.mark.parametrize("header", ["4000000", "Fri, 01 Jan 2100 00:00:00 GMT", "soon"])
def test_the_wait_that_is_asked_for_is_capped(header: str) -> None:
    ran = Ran(Status(429, headers={"retry-after": header}), *DONE, request=request(limits=Limits(9, 2, "1")))
    assert ran.ended is Outcome.SECONDS
    assert ran.seconds < 5


def test_troubles_that_stay_are_named() -> None:
    ran = Ran(*[Status(529, "overloaded_error", "Overloaded", {"retry-after-ms": "1"})] * 9)
    assert "HTTP 529: Overloaded" in ran.failed().message
    assert len(ran.journal) == 5
    assert len(ran.notes("attempt")) == 5


@pytest.mark.parametrize(
    ("code", "kind", "hint"),
    [
        (400, "invalid_request_error", "--model"),
        (401, "authentication_error", "ANTHROPIC_API_KEY"),
        (403, "permission_error", "may not use"),
        (404, "not_found_error", "--model"),
    ],
)
def test_a_refused_request_is_not_tried_again(code: int, kind: str, hint: str) -> None:
    ran = Ran(Status(code, kind, "model: nope\x1b[31m"))
    error = ran.failed()
    assert f"HTTP {code}" in error.message
    assert "\x1b" not in error.message
    assert hint in (error.hint or "")
    assert error.exit_code == 3
    assert len(ran.journal) == 1


def test_a_wrong_key() -> None:
    assert "HTTP 401" in Ran(*DONE, api_key="another").failed().message


def test_a_request_that_is_too_long_is_an_end() -> None:
    assert Ran(Status(413, "request_too_large", "too long")).ended is Outcome.CONTEXT


def test_an_unreachable_endpoint() -> None:
    with LocalSandbox(FILES) as sandbox:
        with MessagesPeer([]) as peer:
            job = claude_job(peer, sandbox)
        lines: list[bytes] = []
        with pytest.raises(ModelError, match="unreachable"):
            run(claude_job(peer, sandbox, record=lines.append, policy=job.policy), sandbox)
    assert transcript.parse(b"".join(lines))[-1]["outcome"] == "error"


def test_an_endpoint_that_hangs_up_is_tried_again() -> None:
    ran = Ran(Hangup(), *DONE)
    assert ran.ended is Outcome.SUBMITTED
    assert "no connection" in ran.notes("attempt")[0]


def test_redirects_are_not_followed() -> None:
    with MessagesPeer(DONE) as elsewhere:
        ran = Ran(Status(307, headers={"location": f"{elsewhere.url}/v1/messages"}))
        assert "redirects elsewhere" in ran.failed().message
        assert elsewhere.journal == []


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("count", [0, 1, 3, 5, 6])
def test_an_answer_that_breaks_off_is_asked_for_again(count: int, *, clean: bool) -> None:
    ran = Ran(Cut(turn(MEND), count, clean=clean), *DONE)
    assert ran.ended is Outcome.SUBMITTED
    assert len(ran.notes("lost answer")) == 1
    assert ran.journal[0].body == ran.journal[1].body


def test_a_lost_answer_is_counted() -> None:
    ran = Ran(Cut(turn(MEND), 3), *DONE)
    assert ran.outcome is not None
    assert (ran.outcome.usage.steps, ran.outcome.usage.input_tokens) == ("2", "300")


def test_an_answer_that_always_breaks_off_is_no_answer() -> None:
    ran = Ran(*[Cut(turn(MEND), 4)] * 9)
    assert "cut off or malformed 3 times" in ran.failed().message
    assert ran.changed == ()


def stream(*changes: tuple[int, Any]) -> bytes:
    """The bytes of a good answer with some events replaced."""
    made = list(events(whole(turn(MEND), 1, MODEL)))
    for place, event in changes:
        made[place] = event
    return b"".join(
        event if isinstance(event, bytes) else f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
        for event in made
    )


def start(block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": 0, "content_block": block}


def delta(index: int, what: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": what}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<html>a proxy's page</html>",
        b"event: message_start\ndata: {nope\n\n",
        b"event: message_start\ndata: []\n\n",
        b'event: message_start\ndata: {"type": "message_start", "message": 1}\n\n',
        b"\xff\xfe\x00" * 100,
        stream((0, b"")),
        stream((1, {"type": "content_block_start", "index": 0})),
        stream(
            (2, {"type": "content_block_delta", "index": 7, "delta": {"type": "input_json_delta", "partial_json": "{"}})
        ),
        stream(
            (2, {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": 5}})
        ),
        stream((2, {"type": "content_block_delta", "index": 0})),
        stream(
            (1, {"type": "content_block_start", "index": 0, "content_block": {"type": "server_tool_use", "id": "x"}})
        ),
        stream((1, start({"type": "text", "text": None}))),
        stream((-2, {"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 1}})),
        stream((-2, {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": -1}})),
        stream((-2, {"type": "message_delta", "delta": {"stop_reason": "tool_use"}})),
        stream((-1, b"")),
        b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}\n\n',
    ],
)
def test_malformed_events_are_no_answer(body: bytes) -> None:
    ran = Ran(Raw(body), Raw(body), Raw(body), *DONE)
    assert "3 times" in ran.failed().message
    assert ran.changed == ()


def test_an_error_within_a_stream_that_will_stay_is_not_asked_again() -> None:
    body = b'event: error\ndata: {"type": "error", "error": {"type": "invalid_request_error", "message": "bad"}}\n\n'
    ran = Ran(Raw(body), *DONE)
    assert "invalid_request_error: bad" in ran.failed().message
    assert len(ran.journal) == 1


def test_unknown_events_are_passed_over() -> None:
    body = stream((0, b'event: news\ndata: {"type": "news"}\n\n' + stream()[: stream().index(b"\n\n") + 2]))
    assert Ran(Raw(body), turn(submit(["src/add.py"]))).ended is Outcome.SUBMITTED


def test_another_model_than_asked_is_refused() -> None:
    ran = Ran(Reply([MEND], model="claude-haiku-5-5"))
    assert f"{MODEL} was asked, but claude-haiku-5-5 answered" in ran.failed().message
    assert ran.changed == ()


def test_an_endpoint_that_is_not_listed_is_not_asked() -> None:
    ran = Ran(*DONE, policy=policy())
    assert isinstance(ran.error, PolicyError)
    assert ran.journal == []


def test_the_environment_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "from-the-environment")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "from-the-environment")
    ran = Ran(*DONE)
    assert ran.journal[0].headers["authorization"] == f"Bearer {KEY}"
    for headers in ("anthropic-beta: files-api-2025-04-14", "x-api-key: other", "Authorization: Bearer other"):
        monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", headers)
        refused = Ran(*DONE)
        assert isinstance(refused.error, UsageError)
        assert "ANTHROPIC_CUSTOM_HEADERS" in (refused.error.hint or "")
        assert refused.journal == []


def test_a_model_without_a_price_is_stopped_early() -> None:
    def listed(peer: MessagesPeer) -> Any:
        return policy(models={"allow": ["claude-next-9"], "endpoints": [peer.url], "prompts": ["fix@1"]})

    dear = Reply([view("README")], usage={"input_tokens": 40_000, "output_tokens": 1})
    engine = EngineChoice("claude", model="claude-next-9", prompt="fix@1")
    ran = Ran(dear, dear, request=request(engine, limits=Limits(9, 30, "1")), policy=listed)
    assert (ran.ended, len(ran.journal)) == (Outcome.USD, 1)


def test_a_run_can_be_played_from_its_transcript() -> None:
    ran = Ran(turn(view("src/add.py")), Cut(turn(MEND), 2), *DONE)
    engine = EngineChoice("recorded")
    with LocalSandbox(FILES) as sandbox, MessagesPeer([]) as peer:
        job = claude_job(peer, sandbox, request=request(engine), recording=b"".join(ran.lines), api_key=None)
        outcome = run(job, sandbox)
        assert outcome.outcome is Outcome.SUBMITTED
        assert sandbox.changed() == ran.changed
        assert peer.journal == []
    assert outcome.differences == ()
    assert outcome.model is None
