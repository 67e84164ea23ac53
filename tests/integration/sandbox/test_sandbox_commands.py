from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_pipeline import clock
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import layout
from agent_pipeline.sandbox.contract import CommandResult, Image, Sandbox

pytestmark = pytest.mark.containers


def sh(sandbox: Sandbox, script: str, *, seconds: float = 20, **more: int) -> CommandResult:
    return sandbox.run(["sh", "-c", script], seconds=seconds, **more)


def test_output_of_both_streams_and_the_exit_code_come_back(sandbox: Sandbox) -> None:
    done = sh(sandbox, "echo out; echo err >&2; exit 7")
    assert (done.code, done.output, done.truncated, done.timed_out) == (7, b"out\nerr\n", False, False)
    assert 0 < done.seconds < 10


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["no-such-program"], 127, b"not found"),
        (["/etc/passwd"], 126, b"denied"),
        (["/workspace"], 126, b"denied"),
        (["sh", "-c", "kill -SEGV $$"], 139, b""),
        (["sh", "-c", "kill -KILL $$"], 137, b""),
        (["printf", "%s|", "a b", "", "$HOME", "\udcff"], 0, b"a b||$HOME|\xff|"),
    ],
)
def test_what_commands_end_with(sandbox: Sandbox, argv: list[str], code: int, said: bytes) -> None:
    done = sandbox.run(argv, seconds=20)
    assert done.code == code
    assert said in done.output


def test_a_script_without_an_interpreter_line_cannot_be_executed(sandbox: Sandbox) -> None:
    sandbox.write("script", b"echo hi\n")
    sh(sandbox, "chmod +x script")
    assert sandbox.run(["./script"], seconds=10).code == 126


def test_commands_get_the_images_environment_and_nothing_of_the_hosts(
    start: Callable[..., Sandbox], image: Image
) -> None:
    os.environ["AGENT_PIPELINE_TEST_SECRET"] = "secret"
    try:
        sandbox = start(env={"FROM_SPEC": "1", "BOTH": "spec"})
    finally:
        del os.environ["AGENT_PIPELINE_TEST_SECRET"]
    done = sandbox.run(["env"], seconds=10, env={"BOTH": "run", "LINE": "a=b\nc"})
    assert b"SECRET" not in done.output
    assert b"FROM_SPEC=1\n" in done.output
    assert b"BOTH=run\n" in done.output
    assert b"LINE=a=b\nc\n" in done.output
    names = set(re.findall(rb"^([A-Z_]+)=", sandbox.run(["env"], seconds=10).output, re.MULTILINE))
    assert names == {name.encode() for name in layout.environment(image)} | {b"FROM_SPEC", b"BOTH"}


def test_commands_read_nothing_and_inherit_nothing(sandbox: Sandbox) -> None:
    started = clock.monotonic()
    done = sh(sandbox, "cat; readlink /proc/self/fd/0; ls /proc/self/fd | tr '\\n' ' '; pwd; id -u; umask")
    assert clock.monotonic() - started < 5
    assert done.output == b"/dev/null\n0 1 2 3 /workspace\n10001\n0022\n"


def test_a_command_that_hangs_is_killed_at_its_time(sandbox: Sandbox) -> None:
    started = clock.monotonic()
    done = sh(sandbox, "trap '' TERM INT HUP; echo begun; sleep 60 & sleep 60; sleep 60", seconds=0.5)
    assert (done.code, done.timed_out) == (None, True)
    assert b"begun" in done.output
    assert clock.monotonic() - started < 5
    assert sh(sandbox, "echo next").output == b"next\n"


def test_long_output_is_cut_in_the_middle_and_says_so(sandbox: Sandbox) -> None:
    done = sh(sandbox, "echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last", output_limit=10_000)
    assert (done.code, done.truncated) == (0, True)
    assert len(done.output) <= 10_000
    assert done.output.startswith(b"first\n")
    assert done.output.endswith(b"last\n")
    assert b"bytes cut" in done.output


def test_a_flood_is_killed(sandbox: Sandbox) -> None:
    started = clock.monotonic()
    done = sh(sandbox, "yes & exec yes", seconds=30)
    assert (done.code, done.truncated, done.timed_out) == (None, True, False)
    assert len(done.output) <= 1 << 20
    assert clock.monotonic() - started < 15
    assert sh(sandbox, "echo next").output == b"next\n"


def test_what_a_command_leaves_running_is_swept(sandbox: Sandbox) -> None:
    started = clock.monotonic()
    done = sh(sandbox, "(setsid sh -c 'sleep 60; touch /workspace/late' >&- 2>&- &) ; setsid sleep 60 & echo over")
    assert done.output == b"over\n"
    assert clock.monotonic() - started < 5
    found = sh(sandbox, "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done; ls /workspace")
    assert b"sleep" not in found.output


def test_files_are_written_read_and_listed(sandbox: Sandbox, workspace: Path) -> None:
    sandbox.write("src/deep/er/file.py", b"print('hi')\n")
    sandbox.write("/workspace/empty", b"")
    sandbox.write("big", bytes(range(256)) * 40_000)
    assert sandbox.read("src/deep/er/file.py") == b"print('hi')\n"
    assert sandbox.read("/workspace/empty") == b""
    assert sandbox.read("big") == bytes(range(256)) * 40_000
    assert sandbox.listing(".") == ("big", "empty", "src/")
    assert sandbox.listing("/workspace/src") == ("deep/",)
    assert sandbox.read("/etc/debian_version", 100)
    found = (workspace / "src" / "deep" / "er" / "file.py").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (layout.owner(), layout.group(), 0o644)


def test_writing_keeps_mode_bits_and_follows_links_only_within_the_workspace(sandbox: Sandbox, workspace: Path) -> None:
    sh(sandbox, "echo a >tool; chmod 755 tool; ln -s tool link; ln -s /tmp/out outside; ln -s /tmp away; ln -s x x")
    sandbox.write("tool", b"b")
    sandbox.write("link", b"c")
    assert (workspace / "tool").read_bytes() == b"c"
    assert (workspace / "tool").stat().st_mode & 0o777 == 0o755
    assert (workspace / "link").is_symlink()
    for path in ("outside", "away/file", "/tmp/file", "../file", "/etc/passwd", "/workspace", "."):
        with pytest.raises((ValueError, IsADirectoryError)):
            sandbox.write(path, b"x")
    with pytest.raises(ValueError, match="x/y: "):
        sandbox.write("x/y", b"x")
    assert sandbox.listing("/tmp") == ()


def test_writing_below_a_long_chain_of_links_or_directories_is_refused_and_ends_nothing(sandbox: Sandbox) -> None:
    chain = "import os\nfor i in range(1500): os.symlink(f'l{i + 1}', f'l{i}')"
    assert sandbox.run(["python3", "-c", chain], seconds=20).code == 0
    for path in ("l0/file", "d/" * 2000 + "file"):
        with pytest.raises(ValueError, match="/file: "):
            sandbox.write(path, b"x")
    sandbox.write("file", b"x")
    assert sandbox.read("file") == b"x"


def test_what_is_no_regular_file_is_refused(sandbox: Sandbox) -> None:
    sh(sandbox, "mkfifo pipe; mkdir dir; echo 12345 >file; chmod 0 file; truncate -s 100M sparse")
    cases: list[tuple[str, type[Exception]]] = [
        ("pipe", ValueError),
        ("/dev/zero", ValueError),
        ("dir", IsADirectoryError),
        ("missing", FileNotFoundError),
        ("missing/file", FileNotFoundError),
        ("pipe/file", ValueError),
        ("file", ValueError),
        ("/proc/1/mem", ValueError),
        ("/proc/1/environ", ValueError),
        ("a\0b", ValueError),
        ("x" * 5000, ValueError),
    ]
    for path, error in cases:
        with pytest.raises(error):
            sandbox.read(path)
    sandbox.write("five", b"12345")
    assert sandbox.read("five", 5) == b"12345"
    with pytest.raises(ValueError, match="too large"):
        sandbox.read("five", 4)
    with pytest.raises(ValueError, match="too large"):
        sandbox.read("sparse")
    for path, error in (("pipe", ValueError), ("dir", IsADirectoryError), ("five/x", ValueError)):
        with pytest.raises(error):
            sandbox.write(path, b"x")
    with pytest.raises(ValueError, match="not a directory"):
        sandbox.listing("five")
    with pytest.raises(FileNotFoundError):
        sandbox.listing("missing")
    assert sh(sandbox, "echo still here").output == b"still here\n"


def test_a_write_that_does_not_fit_leaves_what_was_there(sandbox: Sandbox) -> None:
    sh(sandbox, "echo before >file; chmod 555 .")
    with pytest.raises(ValueError, match="denied"):
        sandbox.write("file", b"after")
    with pytest.raises(ValueError, match="bytes"):
        sandbox.write("file", bytes((16 << 20) + 1))
    sh(sandbox, "chmod 755 .")
    assert sandbox.read("file") == b"before\n"
    assert sandbox.listing(".") == ("file",)


def test_ordinary_development_works(sandbox: Sandbox) -> None:
    program = """
import multiprocessing, socket, sqlite3, subprocess, tempfile, threading, asyncio, os, mmap
with multiprocessing.Pool(2) as pool: assert pool.map(abs, [-1, -2]) == [1, 2]
thread = threading.Thread(target=lambda: None); thread.start(); thread.join()
server = socket.create_server(("127.0.0.1", 0)); client = socket.create_connection(server.getsockname())
assert sqlite3.connect("x.db").execute("pragma journal_mode=wal").fetchone() == ("wal",)
assert subprocess.check_output(["git", "init", "-q", "repo"]) == b""
async def main():
    p = await asyncio.create_subprocess_exec("true"); assert await p.wait() == 0
asyncio.run(main())
with tempfile.NamedTemporaryFile("w", suffix=".sh", delete=False) as f: f.write("#!/bin/sh\\necho ran\\n")
os.chmod(f.name, 0o755); assert subprocess.check_output([f.name]) == b"ran\\n"
os.mkfifo("fifo"); master, slave = os.openpty(); assert os.isatty(slave)
open(os.path.expanduser("~/config"), "w").write("x")
print("fine")
"""
    sandbox.write("work.py", program.encode())
    done = sandbox.run(["python3", "work.py"], seconds=40)
    assert done.output == b"fine\n", done.output.decode()


NAMES = """
import socket
for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    with socket.socket(family) as server:
        server.bind((address, 0))
        server.listen()
        for name in ("localhost", socket.gethostname() if family == socket.AF_INET6 else "127.0.0.1"):
            socket.create_connection((name, server.getsockname()[1])).close()
try:
    socket.getaddrinfo("example.org", 80)
except OSError:
    print("known", end="")
"""


def test_localhost_and_the_own_name_are_known_and_no_other(sandbox: Sandbox) -> None:
    """As tests that start a server expect it; no engine, resolver or file of the host's is asked."""
    done = sandbox.run(["python3", "-c", NAMES], seconds=20)
    assert (done.code, done.output) == (0, b"known")


def test_after_closing_nothing_is_answered(sandbox: Sandbox) -> None:
    sandbox.close()
    started = clock.monotonic()
    sandbox.close()
    assert clock.monotonic() - started < 0.5
    for ask in (lambda: sandbox.run(["true"], seconds=1), lambda: sandbox.read("x"), lambda: sandbox.listing(".")):
        with pytest.raises(SandboxError, match="gone"):
            ask()
