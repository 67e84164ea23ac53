"""The door to processes: what a command says is kept within bounds, and what it leaves running disturbs nobody."""

from __future__ import annotations

import os
from pathlib import Path

from agent_pipeline import clock, process

ENV = {"PATH": os.environ["PATH"]}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_what_is_said_is_cut_in_the_middle() -> None:
    done = process.run(["sh", "-c", "printf begin; head -c 1000000 /dev/zero; printf end"], env=ENV, limit=1000)
    assert done.truncated
    assert done.stdout.startswith(b"begin")
    assert done.stdout.endswith(b"end")
    assert b"[... 999008 bytes left out ...]" in done.stdout


def test_no_descriptor_stays_open() -> None:
    process.run(["true"], env=ENV)
    before = descriptors()
    for _ in range(20):
        process.run(["echo", "x"], env=ENV, stdin=b"x" * 100_000)
    until = clock.monotonic() + 5
    while descriptors() > before and clock.monotonic() < until:
        clock.sleep(0.01)
    assert descriptors() <= before


def test_what_a_command_left_running_is_never_read_from_another_file(tmp_path: Path) -> None:
    """Its pipe outlives the patience of who reads it; the numbers of what is closed then are taken by other pipes."""
    left = f"sleep 6; for n in 1 2 3; do echo late; sleep 0.1; done; echo whole >{tmp_path}/said; sleep 0.5"
    done = process.run(["sh", "-c", f"({left}) 2>/dev/null & echo now"], env=ENV)
    assert (done.code, done.stdout, done.timed_out) == (0, b"now\n", False)
    pipes = [os.pipe() for _ in range(20)]
    try:
        until = clock.monotonic() + 10
        while not (tmp_path / "said").exists():
            assert clock.monotonic() < until, "what was left running died of its pipe"
            for _, writer in pipes:
                os.write(writer, b"x")
            clock.sleep(0.05)
            for reader, _ in pipes:
                assert os.read(reader, 10) == b"x"
    finally:
        for ends in pipes:
            for end in ends:
                os.close(end)
