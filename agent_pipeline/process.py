"""The only caller of `subprocess`.

No shell, ever. The environment is always constructed by the caller, never inherited by accident. Output is bytes,
bounded, and cut in the middle. A command that outlives its time is killed with its whole process group.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess  # noqa: TID251 - the one place
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from agent_pipeline import interrupts
from agent_pipeline.errors import UnavailableError

_READ = 65536
_PATIENCE = 5  # seconds, for the end of a pipe whose command has ended

Process = subprocess.Popen[bytes]


@dataclass(frozen=True, slots=True)
class Completed:
    """What a finished command left behind. `stdout` and `stderr` are bounded.

    `truncated` says that something was cut.
    """

    argv: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    truncated: bool = False

    @property
    def ok(self) -> bool:
        """Whether the command ended by itself with 0."""
        return self.code == 0 and not self.timed_out

    def explain(self) -> str:
        """Return the command, how it ended and the end of what it said, for an error message."""
        ended = "ran out of time" if self.timed_out else f"exit {self.code}"
        said = (self.stderr or self.stdout).decode("utf-8", "backslashreplace").strip()
        return f"`{' '.join(self.argv)}`: {ended}" + (f"\n{said[-2000:]}" if said else "")


def which(name: str) -> str | None:
    """Return the absolute path of the program `name`, or None."""
    return shutil.which(name)


def inherited(*names: str) -> dict[str, str]:
    """Return those of the named environment variables that are set."""
    return {name: os.environ[name] for name in names if name in os.environ}


class _Bounded(threading.Thread):
    """Drains a pipe to its end, keeping the first and last `limit // 2` bytes.

    By a descriptor of its own: what the command left running may hold the pipe open for longer than its caller does,
    and the number of a closed descriptor is soon another file's.
    """

    def __init__(self, pipe: IO[bytes], limit: int) -> None:
        super().__init__(daemon=True)
        self._pipe, self._half = os.dup(pipe.fileno()), max(limit // 2, 1)
        self._head, self._tail, self._total, self._lock = bytearray(), bytearray(), 0, threading.Lock()
        self.start()

    def run(self) -> None:
        """Read until the pipe ends: a pipe nobody reads blocks its writer."""
        try:
            while chunk := os.read(self._pipe, _READ):
                self._keep(chunk)
        finally:
            os.close(self._pipe)

    def _keep(self, chunk: bytes) -> None:
        with self._lock:
            self._total += len(chunk)
            room = self._half - len(self._head)
            self._head += chunk[:room]
            self._tail += chunk[room:] if room > 0 else chunk
            if len(self._tail) > self._half:
                del self._tail[: len(self._tail) - self._half]

    @property
    def truncated(self) -> bool:
        return self._total > len(self._head) + len(self._tail)

    def value(self) -> bytes:
        self.join(timeout=_PATIENCE)
        with self._lock:
            if not self.truncated:
                return bytes(self._head + self._tail)
            cut = self._total - len(self._head) - len(self._tail)
            return bytes(self._head) + f"\n[... {cut} bytes left out ...]\n".encode() + bytes(self._tail)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill `process` and everything in its process group, and wait for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run(  # noqa: PLR0913 - the whole contract of a command in one place
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: bytes = b"",
    timeout: float = 60,
    limit: int = 64 * 1024 * 1024,
    pass_fds: Sequence[int] = (),
) -> Completed:
    """Run `argv` to its end, at most `timeout` seconds, keeping at most `limit` bytes of each stream.

    Raises `UnavailableError` when the program cannot be started. A non-zero exit is a result, not an error.
    """
    process = spawn(argv, env=env, cwd=cwd, pass_fds=pass_fds, stderr=True)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None  # noqa: S101, PT018
    timed_out = False
    try:
        out, err = _Bounded(process.stdout, limit), _Bounded(process.stderr, limit)
        feeder = threading.Thread(target=_feed, args=(process.stdin, stdin), daemon=True)
        feeder.start()
        process.wait(timeout=timeout)
    except subprocess.TimeoutExpired:
        timed_out = True
        kill_group(process)
    except BaseException:
        kill_group(process)
        raise
    result = Completed(
        tuple(argv), process.returncode, out.value(), err.value(), timed_out, out.truncated or err.truncated
    )
    feeder.join(timeout=1)
    for pipe in (process.stdout, process.stderr):
        pipe.close()
    return result


def _feed(pipe: IO[bytes], data: bytes) -> None:
    # A command that does not want its input is no error; its exit code says what that means.
    with contextlib.suppress(OSError):
        pipe.write(data)
    with contextlib.suppress(OSError):
        pipe.close()


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    stderr: bool = False,
) -> subprocess.Popen[bytes]:
    """Start `argv` in a process group of its own with pipes for stdin and stdout (and stderr, or /dev/null).

    The caller owns the process: it reads, closes and ends it with `kill_group`.
    """
    try:
        return subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if stderr else subprocess.DEVNULL,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    except OSError as error:
        raise UnavailableError(
            f"cannot start `{argv[0]}`: {error.strerror or error}",
            hint=f"install the program that provides `{argv[0]}`, or run `agent-pipeline doctor`",
        ) from error


# Costs a millisecond; what it may have to start comes only once we are dead: `read` fails at the pipe's end.
_WATCHER = 'read -r done || exec "$@"'


@contextlib.contextmanager
def when_killed(argv: Sequence[str], *, env: Mapping[str, str]) -> Iterator[None]:
    """Have `argv` run if we die in the block, even by `kill -9`; when the block is left alive, it is forgotten."""
    watcher = spawn(["sh", "-c", _WATCHER, "agent-pipeline-watcher", *argv], env=env)
    assert watcher.stdin is not None and watcher.stdout is not None  # noqa: S101, PT018
    try:
        yield
    finally:
        with interrupts.held_back():
            with contextlib.suppress(OSError):
                watcher.stdin.write(b"done\n")
                watcher.stdin.flush()
            watcher.wait()
            for pipe in (watcher.stdin, watcher.stdout):
                pipe.close()


def stream(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    say: Callable[[str], None],
    timeout: float,
    limit: int,
) -> tuple[int, bytes]:
    """Run `argv`, hand each line of its stderr to `say` as it comes, and return its exit code and stdout.

    Raises `UnavailableError` when it cannot be started or outlives `timeout` seconds.
    """
    process = spawn(argv, env=env, cwd=cwd, stderr=True)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None  # noqa: S101, PT018
    process.stdin.close()
    out = _Bounded(process.stdout, limit)
    timer = threading.Timer(timeout, kill_group, (process,))
    timer.start()
    try:
        for line in process.stderr:
            say(line.decode("utf-8", "replace").rstrip("\n"))
        process.wait()
    except BaseException:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=30)
        kill_group(process)
        raise
    finally:
        alive = timer.is_alive()
        timer.cancel()
        data = out.value()
        process.stdout.close()
        process.stderr.close()
    if not alive:
        raise UnavailableError(f"`{argv[0]}` did not end within {timeout:.0f} seconds")
    return process.returncode, data
