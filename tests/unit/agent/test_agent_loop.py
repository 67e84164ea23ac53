import json
from typing import Any

import pytest
from support.agent_cases import FILES, job, policy, request
from support.local_sandbox import LocalSandbox
from support.messages_peer import Reply
from support.scripted import bash, call, create, edit, play_script, run_check, say, submit, turn, view

from agent_pipeline.agent.outcome import Outcome, RunOutcome
from agent_pipeline.agent.render import NUDGE
from agent_pipeline.documents import transcript
from agent_pipeline.documents.request import EngineChoice, Limits
from agent_pipeline.errors import CheckError, PolicyError, SandboxError
from agent_pipeline.mediator.events import Event

RECORDED = EngineChoice("recorded", transcript="0" * 64)
MEND = edit("src/add.py", "a - b", "a + b")


def run(*turns: Reply, **changes: Any) -> RunOutcome:
    with LocalSandbox(FILES) as sandbox:
        return play_script(job(sandbox, RECORDED, **changes), sandbox, turns, prompt="fix@1")


def records(outcome: RunOutcome, kind: str) -> list[dict[str, Any]]:
    return [record for record in transcript.parse(outcome.transcript) if record["type"] == kind]


def test_a_whole_run() -> None:
    events: list[Event] = []
    outcome = run(
        turn(say("Looking."), view("src/add.py")),
        turn(MEND, run_check("quick")),
        turn(submit(["src/add.py"], checks=["quick"])),
        watch=events.append,
    )
    assert outcome.outcome is Outcome.SUBMITTED
    assert outcome.proposes
    assert outcome.submission is not None
    assert outcome.submission.files == ("src/add.py",)
    assert outcome.usage.steps == "3"
    assert [record["ok"] for record in records(outcome, "tool")] == [True] * 4
    assert [event.kind for event in events] == ["turn", "tool", "turn", "tool", "tool", "turn", "tool", "end"]
    assert events[0].text == "Looking."
    assert outcome.records == len(outcome.transcript.splitlines())


def test_the_header_says_what_the_run_was() -> None:
    outcome = run(turn(submit([])))
    header = records(outcome, "header")[0]
    assert header["engine"] == "recorded"
    assert header["tools"] == ["str_replace_based_edit_tool", "bash", "run_check", "submit_proposal"]
    assert header["tools_digest"] == outcome.tools_digest
    assert "model" not in header


def test_tools_that_the_policy_does_not_list_are_not_there() -> None:
    tools = ["str_replace_based_edit_tool", "submit_proposal"]
    outcome = run(turn(bash("touch /tmp/x")), turn(run_check()), turn(submit([])), policy=policy(tools=tools))
    assert outcome.tools == tuple(tools)
    results = records(outcome, "tool")
    assert [result["ok"] for result in results] == [False, False, True]
    assert "there is no tool `bash`" in results[0]["content"]


def test_a_policy_without_submit_is_refused() -> None:
    with pytest.raises(PolicyError, match="submit_proposal"):
        run(policy=policy(tools=["bash"]))


def test_ending_without_submitting_is_said_once() -> None:
    outcome = run(turn(say("Done.")), turn(submit([])))
    assert outcome.outcome is Outcome.SUBMITTED


def test_ending_twice_ends_with_the_last_words() -> None:
    outcome = run(turn(say("Done.")), turn(say("I really cannot do this.")))
    assert (outcome.outcome, outcome.detail) == (Outcome.ENDED, "I really cannot do this.")
    assert not outcome.proposes


def test_words_of_a_model_do_not_steer_a_terminal() -> None:
    events: list[Event] = []
    outcome = run(
        turn(say("\x1b[2J\x1b]0;owned\x07hi"), view("src/\u202eadd")),
        turn(say("\x1b[1mno")),
        turn(say("\x1b[1mno")),
        watch=events.append,
    )
    assert outcome.detail == "\\x1b[1mno"
    assert all(event.text.isprintable() for event in events)


def test_an_empty_answer_is_an_end() -> None:
    assert run(turn(), turn()).outcome is Outcome.ENDED


def test_a_pause_continues_without_a_word() -> None:
    outcome = run(turn(say("Wait"), stop_reason="pause_turn"), turn(submit([])))
    assert outcome.outcome is Outcome.SUBMITTED


def test_endless_pauses_reach_the_step_limit() -> None:
    limited = request(RECORDED, limits=Limits(3, 30, "1"))
    outcome = run(*[turn(say("Wait"), stop_reason="pause_turn")] * 9, request=limited)
    assert (outcome.outcome, outcome.usage.steps) == (Outcome.STEPS, "3")
    assert outcome.detail == "the run has used its 3 steps"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("refusal", Outcome.REFUSAL),
        ("max_tokens", Outcome.MAX_TOKENS),
        ("model_context_window_exceeded", Outcome.CONTEXT),
        ("stop_sequence", Outcome.UNKNOWN_STOP),
        ("compaction", Outcome.UNKNOWN_STOP),
        ("", Outcome.UNKNOWN_STOP),
    ],
)
def test_other_stop_reasons_end_the_run_and_carry_out_nothing(reason: str, expected: Outcome) -> None:
    outcome = run(Reply([MEND], reason or " "))
    assert outcome.outcome is expected
    assert records(outcome, "tool") == []
    assert records(outcome, "end")[0]["outcome"] == str(expected)


def test_a_failed_call_goes_back_and_the_run_goes_on() -> None:
    outcome = run(
        turn(edit("src/add.py", "nothing like it", "x"), call("launch", {}), create("README", "x")),
        turn(MEND),
        turn(submit(["src/add.py"])),
    )
    assert [record["ok"] for record in records(outcome, "tool")] == [False, False, False, True, True]
    assert outcome.outcome is Outcome.SUBMITTED


def test_a_mismatch_is_mended() -> None:
    outcome = run(turn(MEND), turn(submit(["src/add.py", "src/none.py"])), turn(submit(["src/add.py"])))
    assert outcome.outcome is Outcome.SUBMITTED


def test_an_unmended_mismatch_is_an_end() -> None:
    outcome = run(turn(MEND), turn(submit([])), turn(say("That is it.")), turn(say("Really.")))
    assert outcome.outcome is Outcome.MISMATCH
    assert outcome.submission is None


def test_mismatches_have_an_end() -> None:
    outcome = run(turn(MEND), *[turn(submit([]))] * 9)
    assert (outcome.outcome, outcome.usage.steps) == (Outcome.MISMATCH, "6")


def test_nothing_is_carried_out_after_the_submission() -> None:
    outcome = run(turn(MEND, submit(["src/add.py"]), create("src/late.py", "x")))
    assert outcome.outcome is Outcome.SUBMITTED
    last = records(outcome, "tool")[-1]
    assert (last["ok"], last["content"]) == (False, "not carried out: the proposal was already accepted")


def test_what_looks_like_a_secret_is_taken_out_and_noted() -> None:
    secret = "AKIA" + "ABCDEFGHIJKLMNOP"
    with LocalSandbox(FILES | {"src/key.py": f"KEY = '{secret}'\n"}) as sandbox:
        outcome = play_script(job(sandbox, RECORDED), sandbox, [turn(view("src/key.py")), turn(submit([]))])
    assert secret.encode() not in outcome.transcript
    note = records(outcome, "note")[0]
    assert note["event"] == "redacted"
    assert "1 x AWS access key id" in note["detail"]


def test_every_line_is_seen_as_it_is_written() -> None:
    lines: list[bytes] = []
    outcome = run(turn(submit([])), record=lines.append)
    assert b"".join(lines) == outcome.transcript


def test_a_sandbox_that_dies_is_no_answer() -> None:
    with LocalSandbox(FILES) as sandbox:
        ours = job(sandbox, RECORDED)
        sandbox.close()
        with pytest.raises(SandboxError):
            play_script(ours, sandbox, [turn(view("src/add.py"))])


def test_each_request_holds_the_whole_history() -> None:
    seen: list[dict[str, Any]] = []

    from support.scripted import ScriptedSource  # noqa: PLC0415

    class Spy(ScriptedSource):
        def answer(self, request: dict[str, Any], request_digest: str, step: int) -> Any:
            seen.append(json.loads(json.dumps(request)))
            return super().answer(request, request_digest, step)

    from agent_pipeline.agent import prompts  # noqa: PLC0415
    from agent_pipeline.agent.play import play, prepare  # noqa: PLC0415
    from agent_pipeline.agent.recorder import Recorder  # noqa: PLC0415
    from agent_pipeline.mediator.budget import Budget  # noqa: PLC0415

    thinking = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    with LocalSandbox(FILES) as sandbox:
        ours = job(sandbox, RECORDED)
        stage = prepare(ours, sandbox, prompts.load("fix@1"), Budget(ours.request.limits, 1, None), Recorder())
        play(stage, Spy([turn(thinking, view("src/add.py")), turn(say("Done.")), turn(submit([]))]))
    assert [len(request["messages"]) for request in seen] == [1, 3, 5]
    assert seen[2]["messages"][1]["content"][0] == thinking
    assert seen[2]["messages"][2]["content"][0]["type"] == "tool_result"
    assert seen[2]["messages"][4]["content"][0]["text"] == NUDGE
    assert seen[0]["system"] == seen[2]["system"]
    assert seen[0]["tools"] == seen[2]["tools"]
    assert not {"temperature", "top_p", "top_k"} & set(seen[0])


def test_a_script_that_ends_too_early_is_no_transcript() -> None:
    with pytest.raises(CheckError, match="the script has no turn 2"):
        run(turn(view("src/add.py")))
