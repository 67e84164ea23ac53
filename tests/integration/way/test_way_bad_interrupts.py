"""Ctrl-C, a closed terminal and `kill -9` at every stage: real processes, real signals, nothing left behind."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.desks import Desk, Running, request_line, running
from support.messages_peer import KEY, MessagesPeer, Pings
from support.people import FIX, Done

pytestmark = pytest.mark.containers

WAIT = 'open("started", "w").close(); import time; time.sleep(600)'
STARTED = "cache/runs/*/files/started"
FULL = """  full:                # what CI runs; tests that failed before may fail, no others
    run: ["python", "-m", "pytest", "-q"]"""
SLOW = f"""  full:
    run: ["python", "-c", {json.dumps(WAIT)}]"""
SETUP = ("  run: []\n  env: {PYTHONPATH", f'  run: [["python", "-c", {json.dumps(WAIT)}]]\n  env: {{PYTHONPATH')


def begun(desk: Desk, run: Running) -> None:
    """Wait until something inside the sandbox says that it runs."""
    run.until(lambda: list(desk.top.glob(STARTED)), "nothing started in the sandbox")


def interrupted(desk: Desk, done: Done, state: str) -> str:
    """Check how an interrupted request ended, and what is said of it; return its id."""
    assert done.code == 130, str(done)
    assert done.err.count("interrupted; nothing was left running") == 1
    document = done.document
    assert document["error"]["kind"] == "Interrupted"
    assert desk.left() == []
    (row,) = desk.run("list").document["requests"]
    assert (row["id"], row["state"]) == (document["id"], state)
    return str(row["id"])


def test_during_the_copy(desk: Desk) -> None:
    many = desk.clone / "many"
    many.mkdir()
    for number in range(6000):
        (many / f"{number}.txt").write_text(f"{number}\n")
    desk.person.git("-c", "gc.auto=0", "add", "-A")
    desk.person.git("-c", "gc.auto=0", "commit", "-q", "-m", "Many files")
    with running(desk, *request_line(FIX)) as run:
        places = ("cache/lowers/.making-*/files/many/1*.txt", "cache/runs/*/files/many/1*.txt")
        run.until(lambda: [path for place in places for path in desk.top.glob(place)], "nothing was copied")
        run.interrupt()
        done = run.end()
    assert "contain:" not in done.err
    interrupted(desk, done, "stopped")


@pytest.mark.parametrize("backend", ["bubblewrap", "docker"])
@pytest.mark.parametrize("later", [0.0, 0.1])
def test_while_the_sandbox_starts(desk: Desk, backend: str, later: float) -> None:
    line = ("request", "x", "--kind", "refactor", "--sandbox", backend, "--", "python", "-c", WAIT)
    with running(desk, *line) as run:
        run.wait_for("contain:")
        time.sleep(later)
        run.interrupt()
        done = run.end()
    interrupted(desk, done, "stopped")


@pytest.mark.parametrize("backend", ["bubblewrap", "docker"])
def test_during_the_setup(desk: Desk, backend: str) -> None:
    desk.edit_policy(SETUP)
    with running(desk, "request", "x", "--kind", "refactor", "--sandbox", backend, "--", "true") as run:
        begun(desk, run)
        run.interrupt()
        done = run.end()
    interrupted(desk, done, "stopped")


@pytest.mark.parametrize(
    ("how", "backend"),
    [
        (signal.SIGINT, "bubblewrap"),
        (signal.SIGINT, "docker"),
        (signal.SIGTERM, "docker"),
        (signal.SIGHUP, "bubblewrap"),
    ],
)
def test_while_a_command_is_at_work(desk: Desk, how: signal.Signals, backend: str) -> None:
    line = ("request", "x", "--kind", "refactor", "--sandbox", backend, "--", "python", "-c", WAIT)
    with running(desk, *line) as run:
        begun(desk, run)
        os.killpg(run.process.pid, how)
        done = run.end()
    request = interrupted(desk, done, "stopped")
    shown = desk.run("show", request).document
    assert "interrupted" in shown["detail"]
    assert desk.run("land", request).code == 1
    assert desk.request().code == 0  # and the next one goes its way


def test_while_a_model_thinks(desk: Desk) -> None:
    with MessagesPeer([Pings(60)]) as peer:
        desk.edit_policy(('["https://api.anthropic.com"]', f'["{peer.url}"]'))
        line = ("request", "x", "--engine", "claude", "--sandbox", "bubblewrap")
        with running(desk, *line, ANTHROPIC_API_KEY=KEY, ANTHROPIC_BASE_URL=peer.url) as run:
            run.until(lambda: peer.journal, "the model was not asked")
            run.interrupt()
            done = run.end()
    request = interrupted(desk, done, "stopped")
    told = desk.run("transcript", request).document["records"]
    assert told[-1]["type"] == "end"
    assert told[-1]["outcome"] == "interrupted"


@pytest.mark.parametrize("backend", ["bubblewrap", "docker"])
def test_during_the_replay(desk: Desk, backend: str) -> None:
    desk.edit_policy((FULL, SLOW))
    with running(desk, "request", "x", "--kind", "refactor", "--sandbox", backend, "--", "python", "-c", FIX) as run:
        run.wait_for("replay:")
        begun(desk, run)
        run.interrupt()
        done = run.end()
    request = interrupted(desk, done, "proposed")
    assert desk.person.git("branch", "--list", "agent/*") == ""
    with running(desk, "ci", "run", request) as run:
        begun(desk, run)
        run.interrupt()
        done = run.end()
    assert done.code == 130, str(done)
    assert done.document["error"]["kind"] == "Interrupted"


def test_by_stop(desk: Desk) -> None:
    with running(
        desk, "request", "x", "--kind", "refactor", "--sandbox", "bubblewrap", "--", "python", "-c", WAIT
    ) as run:
        begun(desk, run)
        (row,) = desk.run("list").document["requests"]
        assert row["state"] == "requested"
        assert desk.run("stop", row["id"][:6]).code == 0
        done = run.end()
    interrupted(desk, done, "stopped")
    assert desk.run("stop", row["id"]).code == 2


def whole(desk: Desk) -> str:
    """Check that everything of one step is there or nothing; return the request's state."""
    (row,) = desk.run("list").document["requests"]
    logged = "refs/agent-pipeline/log" in desk.refs()
    staged = desk.person.git("branch", "--list", "agent/*") != ""
    merged = "Merge agent change" in desk.person.git("log", "-1", "--format=%s", "main")
    assert {"proposed": (False, False, False), "staged": (True, True, False), "merged": (True, True, True)}[
        row["state"]
    ] == (logged, staged, merged)
    assert desk.person.git("status", "--porcelain") == ""
    assert ("if values" in (desk.clone / "calc.py").read_text()) == merged
    return str(row["state"])


def test_at_any_moment_of_staging_and_merging(desk: Desk) -> None:
    """From the first moment to the last, in steps: whatever is cut short can be taken up again."""
    saved = proposed(desk)
    for command, ends in (("ci run", "staged"), ("land", "merged")):
        ended, delay = 0, 0.1
        while ended < 2:
            back(desk, saved)
            with running(desk, *command.split(), saved["request"]) as run:
                time.sleep(delay)
                run.interrupt()
                done = run.end()
            assert done.code in (130, -signal.SIGINT, 0), str(done)
            if done.code != -signal.SIGINT:  # which is before the command began, or after it ended
                json.loads(done.out)
            killed = done.code == -signal.SIGINT  # then what sweeps behind it wakes up by itself
            assert desk.left(within=20 if killed else 0) == []
            state = whole(desk)
            ended += state == ends and done.code == 0
            delay += 0.4
        if command == "ci run":
            saved |= desk.refs()
    assert state == "merged"


def proposed(desk: Desk) -> dict[str, str]:
    """Bring a request to the point where only CI's part is missing; return all refs, and its id."""
    assert desk.request().code == 0
    (ref,) = [ref for ref in desk.refs() if ref.startswith("refs/agent-pipeline/requests/")]
    request = ref.rsplit("/", 1)[1]
    desk.person.git("update-ref", ref, f"{ref}^1")
    desk.person.git("update-ref", "-d", "refs/agent-pipeline/log")
    desk.person.git("branch", "-q", "-D", f"agent/{request}")
    return desk.refs() | {"request": request}


def back(desk: Desk, saved: dict[str, str]) -> None:
    """Put every ref and file back."""
    for ref in desk.refs():
        if ref not in saved:
            desk.person.git("update-ref", "-d", ref)
    for ref, tip in saved.items():
        if ref != "request":
            desk.person.git("update-ref", ref, tip)
    desk.person.git("reset", "-q", "--hard", "main")


@pytest.mark.parametrize("backend", ["bubblewrap", "docker"])
@pytest.mark.parametrize("stage", ["act", "replay"])
def test_killed(desk: Desk, backend: str, stage: str) -> None:
    """Nobody can clean up after `kill -9` but others: what is left goes within seconds, and nothing is in the way."""
    if stage == "replay":
        desk.edit_policy((FULL, SLOW))
    script = WAIT if stage == "act" else FIX
    with running(desk, "request", "x", "--kind", "refactor", "--sandbox", backend, "--", "python", "-c", script) as run:
        run.wait_for("contain:" if stage == "act" else "replay:")
        begun(desk, run)
        run.process.kill()
        assert run.process.wait() == -signal.SIGKILL
    (row,) = desk.run("list").document["requests"]
    assert row["state"] == {"act": "requested", "replay": "proposed"}[stage]
    assert desk.run("stop", row["id"]).code == 2  # which forgets the dead run's lease
    assert desk.left(within=20) == []
    assert desk.run("close", row["id"]).code == 0


def test_no_at_the_question(desk: Desk) -> None:
    """`init` asks before it commits; no, or Ctrl-C there, changes nothing."""
    desk.person.git("rm", "-q", "-r", ".agent-pipeline")
    desk.person.git("commit", "-q", "-m", "No rules yet")
    before = desk.refs()
    for answer in (b"n\n", b"\x03"):
        code, told = at_a_terminal(desk, "init", answer)
        assert code == 130, told
        assert "Traceback" not in told
        assert "defect" not in told
        assert desk.refs() == before
        assert desk.person.git("status", "--porcelain") == ""
    code, told = at_a_terminal(desk, "init", b"y\n")
    assert code == 0, told
    assert desk.refs() != before


def at_a_terminal(desk: Desk, command: str, answer: bytes) -> tuple[int, str]:
    """Run a command at a terminal of its own and answer its question; return its code and what it said there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", sys.executable, "-m", "agent_pipeline", command],
        cwd=desk.clone, env=desk.person.env, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    told = b""
    try:
        while b"[Y/n]" not in told:
            told += os.read(ours, 4096)
        os.write(ours, answer)
        while data := read(ours, answer):
            told += data
        return process.wait(timeout=30), told.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read(terminal: int, again: bytes) -> bytes:
    """Return what is said next. Who hears nothing for long presses the key again.

    A Ctrl-C just between Python's showing a prompt and its reading is remembered, and heard at the next key.
    """
    try:
        for _ in range(12):
            if select.select([terminal], [], [], 5)[0]:
                return os.read(terminal, 4096)
            os.write(terminal, again)
        raise AssertionError("it says nothing and does not end")
    except OSError:  # the other side is closed
        return b""


def test_output_that_nobody_reads(desk: Desk) -> None:
    """`agent-pipeline list | head -0` is no traceback."""
    assert desk.request().code == 0
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as broken, Path(os.devnull).open() as nothing:
        done = subprocess.run(
            [sys.executable, "-m", "agent_pipeline", "list"], cwd=desk.clone, env=desk.person.env,
            stdin=nothing, stdout=broken, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr == ""
