from typing import Any

import pytest
from support.agent_cases import FILES, job, request
from support.local_sandbox import LocalSandbox

from agent_pipeline.agent.outcome import Outcome, RunOutcome
from agent_pipeline.agent.run import run
from agent_pipeline.documents import strict, transcript
from agent_pipeline.documents.request import EngineChoice, Limits
from agent_pipeline.errors import SandboxError, UsageError


def act(*argv: str, **changes: Any) -> tuple[RunOutcome, dict[str, bytes]]:
    with LocalSandbox(FILES) as sandbox:
        outcome = run(job(sandbox, EngineChoice("command", command=argv), **changes), sandbox)
        return outcome, {name: sandbox.read(name) for name in sandbox.changed()}


def test_a_command_is_the_agent() -> None:
    argv = ("sed", "-i", "s/a - b/a + b/", "src/add.py")
    outcome, changed = act(*argv)
    assert (outcome.outcome, outcome.proposes) == (Outcome.FINISHED, True)
    assert changed == {"src/add.py": b"def add(a, b):\n    return a + b\n"}
    assert outcome.command is not None
    assert outcome.command.argv == argv
    assert outcome.command.sha256 == strict.sha256(strict.canonical(list(argv)))
    assert outcome.command.output == strict.sha256(b"")
    assert (outcome.model, outcome.prompt, outcome.submission, outcome.tools) == (None, None, None, ())


def test_its_output_is_kept() -> None:
    outcome, _ = act("sh", "-c", "echo one; echo two >&2")
    record = transcript.parse(outcome.transcript)[1]
    assert (record["output"], record["code"]) == ("one\ntwo\n", 0)
    assert record["output_digest"] == strict.sha256(b"one\ntwo\n")


def test_a_failing_command_proposes_nothing_though_it_changed_something() -> None:
    outcome, changed = act("sh", "-c", "echo x > src/new; echo broken; exit 4")
    assert (outcome.outcome, outcome.detail, outcome.proposes) == (Outcome.COMMAND_FAILED, "exit code 4: broken", False)
    assert set(changed) == {"src/new"}
    assert outcome.command is not None
    assert outcome.command.code == 4


def test_a_command_that_is_not_there() -> None:
    outcome, _ = act("no-such-program-here")
    assert outcome.outcome is Outcome.COMMAND_FAILED
    assert "exit code 127" in outcome.detail


def test_a_command_that_hangs_runs_out_of_time() -> None:
    engine = EngineChoice("command", command=("sleep", "30"))
    outcome, _ = act("sleep", "30", request=request(engine, limits=Limits(1, 1, "0")))
    assert (outcome.outcome, outcome.proposes) == (Outcome.SECONDS, False)


def test_a_flood_is_cut_and_says_so() -> None:
    outcome, _ = act("sh", "-c", "yes | head -c 3000000")
    record = transcript.parse(outcome.transcript)[1]
    assert record["truncated"] is True
    assert len(record["output"]) < 300_000


def test_secrets_in_its_output_are_taken_out() -> None:
    secret = "AKIA" + "ABCDEFGHIJKLMNOP"
    outcome, _ = act("echo", f"k={secret}")
    assert f"k={secret}" not in transcript.parse(outcome.transcript)[1]["output"]
    assert transcript.parse(outcome.transcript)[2]["event"] == "redacted"


def test_no_command_is_wrong_use() -> None:
    with pytest.raises(UsageError, match="no command"):
        act()


def test_a_dead_sandbox_leaves_a_transcript_with_an_end() -> None:
    lines: list[bytes] = []
    with LocalSandbox(FILES) as sandbox:
        ours = job(sandbox, EngineChoice("command", command=("true",)), record=lines.append)
        sandbox.close()
        with pytest.raises(SandboxError):
            run(ours, sandbox)
    assert transcript.parse(b"".join(lines))[-1]["outcome"] == "error"
