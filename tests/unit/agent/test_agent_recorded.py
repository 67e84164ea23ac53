from dataclasses import replace
from typing import Any

import pytest
from support.agent_cases import FILES, job, policy, request
from support.local_sandbox import LocalSandbox
from support.scripted import bash, comparable, edit, record, run_check, say, submit, turn, turns_of, view

from agent_pipeline.agent.outcome import Outcome, RunOutcome
from agent_pipeline.agent.run import check, run
from agent_pipeline.documents import strict, transcript
from agent_pipeline.documents.request import EngineChoice, Limits
from agent_pipeline.errors import CheckError, PolicyError, RejectedError, SchemaError, UsageError

ENGINE = EngineChoice("recorded")
TURNS = [
    turn(view("src/add.py"), bash("date +%N")),
    turn(edit("src/add.py", "a - b", "a + b"), run_check()),
    turn(say("Submitting."), submit(["src/add.py"], checks=["quick"])),
]


def made() -> bytes:
    with LocalSandbox(FILES) as sandbox:
        return record(job(sandbox, ENGINE), sandbox, TURNS)


def play(data: bytes, files: dict[str, str] | None = None, **changes: Any) -> tuple[RunOutcome, dict[str, bytes]]:
    with LocalSandbox(files or FILES) as sandbox:
        outcome = run(job(sandbox, ENGINE, recording=data, **changes), sandbox)
        return outcome, {name: sandbox.read(name) for name in sandbox.changed()}


def altered(data: bytes, place: int, **changes: Any) -> bytes:
    records = transcript.parse(data)
    records[place] |= changes
    return b"".join(transcript.line(item) for item in records)


def test_a_recording_does_again_what_it_recorded() -> None:
    data = made()
    outcome, changed = play(data, request=request(replace(ENGINE, transcript=strict.sha256(data)), nonce="1" * 32))
    assert outcome.outcome is Outcome.SUBMITTED
    assert changed == {"src/add.py": b"def add(a, b):\n    return a + b\n"}
    assert outcome.recording == strict.sha256(data)
    assert outcome.prompt is not None
    assert outcome.prompt.name == "fix@1"
    assert (outcome.model, outcome.usage.usd, outcome.usage.input_tokens) == (None, "0", "0")
    header = transcript.parse(outcome.transcript)[0]
    assert (header["engine"], header["recording"]) == ("recorded", outcome.recording)


def test_other_words_of_a_tool_are_named_and_no_obstacle() -> None:
    outcome, _ = play(made())
    assert len(outcome.differences) == 1
    assert "step 1: bash said otherwise: line 2" in outcome.differences[0]
    notes = [item for item in transcript.parse(outcome.transcript) if item["type"] == "note"]
    assert [note["event"] for note in notes] == ["difference"]


def test_a_played_recording_can_be_played_again() -> None:
    outcome, _ = play(play(made())[0].transcript)
    assert outcome.outcome is Outcome.SUBMITTED


def test_another_task_is_refused() -> None:
    with pytest.raises(CheckError, match="step 1: the recorded answer was given to another request; the task"):
        play(made(), request=request(ENGINE, text="something else"))


def test_other_tools_are_refused() -> None:
    with pytest.raises(CheckError, match="its tools_digest is"):
        play(made(), policy=policy(tools=["str_replace_based_edit_tool", "submit_proposal"]))


def test_a_call_that_fares_otherwise_is_refused() -> None:
    files = FILES | {"src/add.py": "def add(a, b):\n    return b + a\n"}
    with pytest.raises(CheckError, match="step 2: str_replace_based_edit_tool succeeded in the recording and failed"):
        play(made(), files)


def test_an_altered_answer_is_found_at_the_next_step() -> None:
    data = made()
    place = next(n for n, item in enumerate(transcript.parse(data)) if item["type"] == "turn" and item["step"] == 2)
    other = [edit("src/add.py", "a - b", "a * b") | {"id": "toolu_02_01"}, run_check() | {"id": "toolu_02_02"}]
    with pytest.raises(CheckError, match="step 3: the recorded answer was given to another request; what happened"):
        play(altered(data, place, content=other))


def test_an_altered_prompt_digest_is_refused() -> None:
    with pytest.raises(CheckError, match="prompt_digest"):
        play(altered(made(), 0, prompt_digest="0" * 64))


def test_a_truncated_recording_is_no_recording() -> None:
    data = made()
    for cut in (b"".join(data.splitlines(keepends=True)[:-1]), data[:-1], b"\n", b""):
        with pytest.raises(SchemaError, match=r"not complete|line 1 of the transcript"):
            play(cut)


def test_a_recording_with_more_answers_than_the_run_takes_is_refused() -> None:
    records = transcript.parse(made())
    last = next(item for item in reversed(records) if item["type"] == "turn")
    data = b"".join(
        transcript.line(item)
        for item in [*records[:-1], last | {"step": 4}, records[-1] | {"records": len(records) + 1}]
    )
    with pytest.raises(CheckError, match="the recording has 1 more answer"):
        play(data)


def test_a_narrower_limit_ends_the_playing() -> None:
    outcome, _ = play(made(), request=request(ENGINE, limits=Limits(2, 30, "0")))
    assert outcome.outcome is Outcome.STEPS


def test_a_recording_without_an_end_by_itself_has_no_more_to_say() -> None:
    records = transcript.parse(made())
    kept = [item for item in records if item.get("step", 0) < 3][:-1]
    for ended, error in (("ended", CheckError), ("steps", None)):
        end = {"type": "end", "outcome": ended, "records": len(kept) + 1}
        data = b"".join(transcript.line(item) for item in [*kept, end])
        if error is None:
            assert play(data)[0].outcome is Outcome.STEPS
        else:
            with pytest.raises(error, match="no more answers; it ended with `ended`"):
                play(data)


def test_another_file_than_the_request_names_is_refused() -> None:
    with pytest.raises(CheckError, match="but the request names"):
        play(made(), request=request(EngineChoice("recorded", transcript="0" * 64)))


def test_another_prompt_than_the_request_names_is_refused() -> None:
    with pytest.raises(CheckError, match="made with the prompt fix@1, but the request names docs@1"):
        play(made(), request=request(replace(ENGINE, prompt="docs@1")))


def test_a_prompt_that_the_policy_does_not_list_is_refused() -> None:
    models = {"allow": [], "endpoints": [], "prompts": ["docs@1"]}
    with pytest.raises(PolicyError, match=r"models\.prompts"):
        play(made(), policy=policy(models=models))


def test_the_same_turns_make_the_same_transcript_but_for_what_tools_say() -> None:
    assert comparable(made()) == comparable(made())


def test_turns_are_read_from_plain_json() -> None:
    first = TURNS[0].content
    steps = [{"text": "Hm.", "calls": [{"name": block["name"], "input": block["input"]} for block in first]}]
    assert turns_of(steps)[0].content == (say("Hm."), *first)


def test_nothing_to_play_is_wrong_use() -> None:
    with LocalSandbox(FILES) as sandbox, pytest.raises(UsageError, match="nothing to play"):
        check(job(sandbox, ENGINE))


def test_a_commands_transcript_is_not_played() -> None:
    with LocalSandbox(FILES) as sandbox:
        ran = run(job(sandbox, EngineChoice("command", command=("true",))), sandbox)
    with pytest.raises(UsageError, match="only a model's run"):
        play(ran.transcript)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "server_tool_use", "id": "x", "name": "web_fetch", "input": {}},
        {"type": "text"},
        {"type": "tool_use", "id": "x", "name": "bash"},
        {"type": "tool_use", "name": "bash", "input": {}},
        {},
    ],
)
def test_blocks_that_no_answer_has_are_refused(block: dict[str, Any]) -> None:
    with pytest.raises(RejectedError):
        play(altered(made(), 1, content=[block]))
