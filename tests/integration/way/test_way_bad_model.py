"""Models that are away, say no, or answer with nonsense: through the real command line, the SDK and a real server."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import pytest
from support.desks import Desk, refused
from support.messages_peer import KEY, MessagesPeer, Raw, Reply, Scripted, Status
from support.people import Done
from support.scripted import call, edit, say, submit, turn

pytestmark = pytest.mark.containers

TESTED = """from calc import mean


def test_mean():
    assert mean([1, 2, 3]) == 2


def test_mean_of_nothing():
    assert mean([]) == 0.0
"""
MEND = (
    edit("calc.py", "/ len(values)", "/ len(values) if values else 0.0"),
    call("str_replace_based_edit_tool", {"command": "insert", "path": "tests/test_calc.py", "insert_line": 5,
        "insert_text": "\n\ndef test_mean_of_nothing():\n    assert mean([]) == 0.0\n"}),
)  # fmt: skip
CHANGED = ["calc.py", "tests/test_calc.py"]
AWAY = {"x-should-retry": "false"}


def ask(desk: Desk, *script: Scripted, options: Sequence[str] = (), key: str = KEY) -> tuple[Done, list[Any]]:
    """Ask the engine claude for the fix, at a peer that the policy lists; return also the peer's journal."""
    with MessagesPeer(script) as peer:
        desk.edit_policy(('["https://api.anthropic.com"]', f'["{peer.url}"]'))
        done = asked(desk, peer.url, *options, key=key)
        return done, list(peer.journal)


def asked(desk: Desk, url: str, *options: str, key: str = KEY) -> Done:
    line = ("request", "mean([]) should be 0.0", "--engine", "claude", "--sandbox", "bubblewrap", *options)
    return desk.run(*line, ANTHROPIC_API_KEY=key, ANTHROPIC_BASE_URL=url)


def failed(done: Done, word: str) -> None:
    """Check that the run is kept, with its reason."""
    assert done.document["state"] == "failed"
    assert word in done.document["detail"], str(done)


def test_the_same_peer_with_a_good_model(desk: Desk) -> None:
    """What goes wrong below does so because of the model, for this goes right."""
    done, journal = ask(desk, turn(*MEND), turn(submit(CHANGED)))
    assert done.code == 0, str(done)
    assert done.document["state"] == "staged"
    assert [entry.problems for entry in journal] == [(), ()]
    assert desk.run("land", done.document["id"]).code == 0


def test_no_key(desk: Desk) -> None:
    refused(desk.run("request", "x", "--engine", "claude"), 2, "ANTHROPIC_API_KEY")
    assert desk.run("list").document["requests"] == []


def test_an_endpoint_that_the_policy_does_not_list(desk: Desk) -> None:
    refused(asked(desk, "http://127.0.0.1:9"), 1, "127.0.0.1:9", "ANTHROPIC_BASE_URL")
    refused(asked(desk, "nonsense"), 2, "nonsense", "ANTHROPIC_BASE_URL")
    assert desk.run("list").document["requests"] == []


def test_unreachable(desk: Desk) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers, and nobody else can take it
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        desk.edit_policy(('["https://api.anthropic.com"]', f'["{url}"]'))
        done = asked(desk, url)
    refused(done, 3, "unreachable", "ANTHROPIC_BASE_URL")
    failed(done, "unreachable")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Status(401, "authentication_error", "invalid key"), ("401", "ANTHROPIC_API_KEY")),
        (Status(529, "overloaded_error", "busy", AWAY), ("529", "try again later")),
    ],
    ids=["401", "529"],
)
def test_an_endpoint_that_refuses(desk: Desk, answer: Status, words: tuple[str, ...]) -> None:
    done, _ = ask(desk, *[answer] * 8)
    refused(done, 3, *words)
    failed(done, words[0])


def test_an_answer_that_breaks_off(desk: Desk) -> None:
    done, _ = ask(desk, Raw(b"event: nonsense\ndata: {\n\n"), Raw(b""), *[Raw(b"")] * 20)
    refused(done, 3, "model")
    failed(done, "model")


def test_a_refusal(desk: Desk) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": None}
    done, journal = ask(desk, Reply([say("I cannot help with that.")], "refusal", stop_details=details))
    refused(done, 3, "refused", "cyber", "agent-pipeline transcript")
    assert len(journal) == 1
    failed(done, "refus")
    request = done.document["id"]
    refused(desk.run("land", request), 1, "failed", "refus")
    told = desk.run("transcript", request)
    assert "I cannot help" in told.out
    assert KEY not in told.out
    assert desk.person.git("branch", "--list", "agent/*") == ""


@pytest.mark.parametrize("reason", ["max_tokens", "something_new"])
def test_a_stop_in_the_middle(desk: Desk, reason: str) -> None:
    """What was changed until then is not proposed, not even when a test would pass."""
    done, _ = ask(desk, turn(*MEND), Reply([say("And then")], reason))
    refused(done, 3, reason if reason == "something_new" else "longer than", "agent-pipeline transcript")
    failed(done, "the run ended without a proposal")


def test_a_model_that_never_submits(desk: Desk) -> None:
    done, journal = ask(desk, turn(*MEND), turn(say("Done.")), turn(say("I said: done.")))
    refused(done, 1, "I said: done.")
    assert len(journal) == 3  # it was reminded once
    failed(done, "ended")


def results(entry: Any) -> list[dict[str, Any]]:
    """Return the tool results that a request carried back."""
    return [block for block in entry.body["messages"][-1]["content"] if block["type"] == "tool_result"]


WRONG = (
    ("launch_missiles", {"at": "once"}, "launch_missiles"),
    ("bash", {"command": "ls"}, "bash"),  # known, but not listed by this policy
    ("run_check", {"name": 7}, "name"),
    ("run_check", [], "not valid"),
    ("run_check", {"name": "quick", "extra": True}, "extra"),
    ("run_check", {"name": "nightly"}, "nightly"),
    ("str_replace_based_edit_tool", {"command": "view", "path": "../../etc/shadow"}, "path"),
    ("str_replace_based_edit_tool", {"command": "create", "path": ".github/x.yml", "file_text": "x"}, "denies"),
    ("submit_proposal", {}, "required"),
    ("submit_proposal", {"summary": 7, "rationale": "y", "files": [], "checks": []}, "summary"),
    ("submit_proposal", {"summary": "x", "rationale": "y", "files": ["../x"], "checks": []}, "../x"),
)


def test_wrong_calls_come_back_and_can_be_mended(desk: Desk) -> None:
    """An unknown tool, malformed input, a proposal that breaks its schema: the model is told, and goes on."""
    wrong = [turn(call(name, arguments)) for name, arguments, _ in WRONG]
    done, journal = ask(desk, *wrong, turn(*MEND), turn(submit(CHANGED)))
    assert done.code == 0, str(done)
    assert len(journal) == len(WRONG) + 2
    for (name, _, word), entry in zip(WRONG, journal[1:], strict=False):
        (result,) = results(entry)
        assert result["is_error"], (name, result)
        assert word in str(result["content"]), (name, result)


def test_tool_input_that_is_no_json(desk: Desk) -> None:
    """The answer is asked for again, as one that was lost on the way; not for ever."""
    broken = turn(call("run_check", "{not json"))
    done, journal = ask(desk, *[broken] * 20)
    refused(done, 3, "malformed 3 times")
    assert len(journal) == 3
    failed(done, "malformed")


def test_a_claim_that_is_not_what_changed(desk: Desk) -> None:
    done, journal = ask(desk, turn(*MEND), *[turn(submit(["calc.py"]))] * 10)
    refused(done, 1, "did not match what changed")
    assert "tests/test_calc.py" in str(results(journal[2]))
    failed(done, "mismatch")


def test_a_proposal_that_never_has_its_form(desk: Desk) -> None:
    """The steps are bounded by the request: nonsense costs no more than that."""
    nonsense = turn(call("submit_proposal", {"summary": 7}))
    done, journal = ask(desk, *[nonsense] * 30, options=("--max-steps", "4"))
    refused(done, 1, "steps", "wider limits")
    assert len(journal) == 4
    failed(done, "steps")


def test_a_model_that_was_not_asked(desk: Desk) -> None:
    done, _ = ask(desk, *[Reply([say("Hello")], model="claude-other-1")] * 4)
    refused(done, 3, "claude-other-1")
    failed(done, "claude-other-1")


def test_no_money(desk: Desk) -> None:
    dear = {"input_tokens": 900_000, "output_tokens": 10}
    done, _ = ask(desk, *[Reply([say("Hm."), *MEND], usage=dear)] * 3, options=("--max-usd", "0.01"))
    refused(done, 1, "usd", "wider limits")
    failed(done, "usd")
