"""Checks and commands that hang, flood, are not there or lie: bounded in time and words, and never taken as yes."""

from __future__ import annotations

import time

import pytest
from support.desks import Desk, refused
from support.people import FIX, Done

pytestmark = pytest.mark.containers

QUICK_CHECK = """  full:                # what CI runs; tests that failed before may fail, no others
    run: ["python", "-m", "pytest", "-q"]
    seconds: 300"""
REPORTS = "    reports: true"
YES = "import os; os.execvp('yes', ['yes', 'x' * 4096])"


def with_check(desk: Desk, run: str, seconds: int = 2) -> None:
    desk.edit_policy((QUICK_CHECK, f"  full:\n    run: {run}\n    seconds: {seconds}"), (REPORTS, "    reports: false"))


def reason(done: Done, name: str = "replay: full") -> str:
    return str({check["name"]: check["reason"] for check in done.document["checks"]}[name])


def nothing_staged(desk: Desk) -> None:
    assert desk.person.git("branch", "--list", "agent/*") == ""


def test_a_check_that_hangs(desk: Desk) -> None:
    with_check(desk, "[sleep, '1000']")
    started = time.monotonic()
    done = desk.request(kind="refactor")
    assert time.monotonic() - started < 60
    refused(done, 1, "ran out of its 2 seconds")
    assert done.document["state"] == "rejected"
    assert "2 seconds" in reason(done)
    nothing_staged(desk)
    refused(desk.run("land", done.document["id"]), 1, "rejected")


def test_a_check_that_hangs_in_a_process_of_its_own(desk: Desk) -> None:
    """A daemon that outlives the check, deaf to signals, ends with its sandbox."""
    with_check(desk, '["sh", "-c", "trap \'\' TERM HUP INT; setsid sleep 1000 & exit 0"]')
    done = desk.request(kind="refactor")
    assert done.code == 0, str(done)
    assert done.document["state"] == "staged"


def test_a_check_that_floods(desk: Desk) -> None:
    with_check(desk, '["yes", "' + "x" * 1000 + '"]')
    done = desk.request(kind="refactor")
    refused(done, 1, "said too much")
    assert len(done.out) < 100_000
    assert len(done.err) < 100_000
    size = desk.person.git("cat-file", "-s", f"refs/agent-pipeline/requests/{done.document['id']}")
    assert int(size) < 10_000
    nothing_staged(desk)


def test_a_check_that_is_not_there(desk: Desk) -> None:
    """What could not be told is no rejection: with a check that works the same proposal passes."""
    with_check(desk, "[nosuchcheck, --now]")
    done = desk.request(kind="refactor")
    refused(done, 3, "nosuchcheck", "not there")
    assert done.document["state"] == "proposed"
    nothing_staged(desk)
    again = desk.run("ci", "run", done.document["id"])
    assert again.code == 3, str(again)
    assert again.document["results"][0]["verdict"] == "unknown"


def test_a_check_that_cannot_be_executed(desk: Desk) -> None:
    with_check(desk, "[./calc.py]")
    refused(desk.request(kind="refactor"), 3, "calc.py", "cannot run")


def test_a_check_that_runs_no_test(desk: Desk) -> None:
    with_check(desk, '["python", "-m", "pytest", "-q", "-k", "nothing_is_called_so"]', 60)
    refused(desk.request(kind="refactor"), 1, "replay: full")
    nothing_staged(desk)


def test_a_check_that_eats_all_memory(desk: Desk) -> None:
    desk.edit_policy(("memory_mb: 2048", "memory_mb: 128"))
    with_check(desk, '["python", "-c", "x = [bytearray(1 << 20) for _ in range(4096)]"]', 30)
    done = desk.request(kind="refactor")
    assert done.code in (1, 3), str(done)
    nothing_staged(desk)


@pytest.mark.parametrize("backend", ["bubblewrap", "docker"])
def test_a_command_that_hangs(desk: Desk, backend: str) -> None:
    started = time.monotonic()
    line = ("request", "x", "--kind", "refactor", "--sandbox", backend, "--max-seconds", "2", "--", "sleep", "1000")
    done = desk.run(*line)
    assert time.monotonic() - started < 40
    refused(done, 1, "seconds", "wider limits")
    assert done.document["state"] == "failed"


@pytest.mark.parametrize("backend", ["bubblewrap", "docker"])
def test_a_command_that_floods(desk: Desk, backend: str) -> None:
    line = ("request", "x", "--kind", "refactor", "--sandbox", backend, "--max-seconds", "5", "--")
    done = desk.run(*line, "python", "-c", YES)
    refused(done, 1, "without a proposal")
    told = desk.run("transcript", done.document["id"])
    assert len(told.out) < 2_000_000


def test_a_command_that_is_not_there(desk: Desk) -> None:
    done = desk.run("request", "x", "--kind", "refactor", "--", "nosuchcommand")
    refused(done, 1, "nosuchcommand", "127")


def test_a_command_that_fails_proposes_nothing(desk: Desk) -> None:
    refused(desk.request(FIX + "\nraise SystemExit('half done')"), 1, "half done")
    nothing_staged(desk)


def test_a_setup_that_hangs(desk: Desk) -> None:
    desk.edit_policy(
        ("  run: []\n  env: {PYTHONPATH", "  run: [[sleep, '1000']]\n  env: {PYTHONPATH"),
        ("seconds: 300", "seconds: 2"),
    )
    refused(desk.request(), 3, "sleep 1000", "ran out of time", "`setup`")


@pytest.mark.parametrize(
    ("test", "code", "words"),
    [
        ("nosuchcheck", 2, ("nosuchcheck", "--test")),
        ("python -m pytest -q -k nothing_is_called_so", 2, ("no tests", "--test")),
        ("false", 1, ("exit 1", "--test")),
        ("yes", 1, ("yes", "--test")),
    ],
)
def test_init_with_a_check_that_is_useless(desk: Desk, test: str, code: int, words: tuple[str, ...]) -> None:
    desk.person.git("rm", "-q", "-r", ".agent-pipeline")
    desk.person.git("commit", "-q", "-m", "No rules yet")
    before = desk.refs()
    refused(desk.run("init", "--test", test), code, *words)
    assert desk.refs() == before
