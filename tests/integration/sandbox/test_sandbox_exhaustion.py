"""A workload that wants too much: each bounded in time, memory and number, inside a sandbox of the test's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_pipeline import clock
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox.contract import Sandbox

pytestmark = pytest.mark.containers

FORKS = """
import os, time
forked = 0
end = time.monotonic() + 5
while time.monotonic() < end and forked < 500:
    try:
        if os.fork() == 0:
            time.sleep(5)
            os._exit(0)
        forked += 1
    except OSError:
        break
print(forked)
"""
MEMORY = """
held = []
for _ in range(1024):
    held.append(bytearray(1 << 20))
    held[-1][::4096] = b"x" * 256
print("got", "it", "all")
"""
BUSY = """
import os, time
for _ in range(3):
    os.fork()
end = time.monotonic() + 1.5
while time.monotonic() < end:
    pass
print(time.process_time())
"""


def test_a_fork_bomb_is_bounded_and_swept(sandbox: Sandbox) -> None:
    done = sandbox.run(["python3", "-c", FORKS], seconds=20)
    assert 10 < int(done.output) < 64
    assert sandbox.run(["sh", "-c", "ls /proc | grep -c '^[0-9]'"], seconds=10).output.strip() in {b"3", b"4"}


def test_a_shells_fork_bomb_is_ended(sandbox: Sandbox) -> None:
    done = sandbox.run(["bash", "-c", "b() { b | b & }; b; sleep 60"], seconds=2)
    assert done.code is None or done.code > 0
    assert sandbox.run(["echo", "next"], seconds=10).output == b"next\n"


def test_a_memory_bomb_is_killed_and_its_sandbox_lives(sandbox: Sandbox) -> None:
    done = sandbox.run(["python3", "-c", MEMORY], seconds=30)
    assert done.code == 137
    assert b"got it all" not in done.output
    assert sandbox.run(["echo", "next"], seconds=10).output == b"next\n"


def test_many_small_memory_bombs_are_killed_too(sandbox: Sandbox) -> None:
    script = f"for i in 1 2 3 4 5 6; do python3 -c '{MEMORY}' & done; wait"
    done = sandbox.run(["bash", "-c", script], seconds=40)
    assert b"got it all" not in done.output
    assert sandbox.run(["echo", "next"], seconds=10).output == b"next\n"


@pytest.mark.parametrize(("where", "mib"), [("/dev/shm", 64), ("/run", 1)])
def test_scratch_directories_are_bounded(sandbox: Sandbox, where: str, mib: int) -> None:
    done = sandbox.run(["dd", "if=/dev/zero", f"of={where}/x", "bs=1M", "count=200"], seconds=30)
    assert done.code == 1
    assert b"No space left" in done.output
    size = int(sandbox.run(["stat", "-c", "%s", f"{where}/x"], seconds=10).output)
    assert size <= mib << 20


def test_tmp_is_bounded_by_memory_at_the_latest(sandbox: Sandbox) -> None:
    done = sandbox.run(["dd", "if=/dev/zero", "of=/tmp/x", "bs=1M", "count=600"], seconds=30)
    assert done.code in {1, 137}


def test_a_file_has_a_largest_size(sandbox: Sandbox) -> None:
    done = sandbox.run(["sh", "-c", "truncate -s 600M big; ls -s big"], seconds=20)
    assert b"600" not in done.output.split(b"big")[-1]
    assert int(sandbox.run(["stat", "-c", "%s", "big"], seconds=10).output) <= 512 << 20


def test_a_busy_loop_gets_one_processor(sandbox: Sandbox) -> None:
    done = sandbox.run(["python3", "-c", BUSY], seconds=20)
    used = sum(float(line) for line in done.output.split())
    assert used < 1.5 * 1.6  # eight busy processes on one processor's worth, with the kernel's slack


def test_descriptors_are_bounded(sandbox: Sandbox) -> None:
    code = "import os\ntry:\n  [os.dup(0) for _ in range(10000)]\nexcept OSError as e: print(e.errno)"
    assert sandbox.run(["python3", "-c", code], seconds=10).output == b"24\n"


def test_a_sandbox_ends_at_its_deadline(start: Callable[..., Sandbox]) -> None:
    sandbox = start(seconds=2)
    started = clock.monotonic()
    with pytest.raises(SandboxError, match="gone"):
        sandbox.run(["sh", "-c", "trap '' TERM; sleep 60"], seconds=50)
    assert clock.monotonic() - started < 10


def test_a_million_names_do_not_arrive(sandbox: Sandbox) -> None:
    code = "import os\nfor i in range(9000): open('/tmp/' + 'n' * 200 + str(i), 'w').close()"
    assert sandbox.run(["python3", "-c", code], seconds=30).code == 0
    with pytest.raises(ValueError, match="too large"):
        sandbox.listing("/tmp")
    assert sandbox.listing("/workspace") == ()


def test_deep_and_odd_names_come_back_as_they_are(sandbox: Sandbox, workspace: Path) -> None:
    sandbox.run(["sh", "-c", "mkdir -p 'a\n b/é'; touch \"$(printf 'n\\377')\" ' -rf'"], seconds=10)
    assert set(sandbox.listing(".")) == {"a\n b/", "n\udcff", " -rf"}
    sandbox.write("n\udcff", b"x")
    assert (workspace / os.fsdecode(b"n\xff")).read_bytes() == b"x"
