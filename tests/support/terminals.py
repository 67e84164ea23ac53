"""Somebody at a terminal of their own: commands ask there, and are answered."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Mapping

from support.people import LAUNCH, Person

SECONDS = 60.0


def at_a_terminal(person: Person, *argv: str, answers: Mapping[str, str]) -> tuple[int, str]:
    """Run a command at a terminal; type each answer once the screen shows its question. Return code and screen."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *LAUNCH, sys.executable, "-P", "-m", "agent_pipeline", *argv],
        cwd=person.clone, env=person.env, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown, waiting, end = "", dict(answers), time.monotonic() + SECONDS
    try:
        while (part := _read(ours, end)) != "":
            shown += part
            for question in [question for question in waiting if question in shown]:
                os.write(ours, f"{waiting.pop(question)}\n".encode())
        code = process.wait(timeout=SECONDS)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert "Traceback" not in shown, shown
    assert not waiting, f"it did not ask {list(waiting)}:\n{shown}"
    return code, shown


def _read(terminal: int, end: float) -> str:
    """Return what the screen shows next, empty once the program is gone."""
    assert select.select([terminal], [], [], max(end - time.monotonic(), 0))[0], "nothing came any more"
    try:
        return os.read(terminal, 4096).decode(errors="replace").replace("\r", "")
    except OSError:
        return ""
