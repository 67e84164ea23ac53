"""A running sandbox, whatever its engine: requests over the link to its PID 1, and an end that is certain."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Self

from agent_pipeline import clock
from agent_pipeline.documents.provenance import SandboxFacts
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import frames
from agent_pipeline.sandbox.contract import FILE_LIMIT, OUTPUT_LIMIT, CommandResult, Screen
from agent_pipeline.sandbox.links import Link

_GRACE: Final = 10.0  # seconds for killing, sweeping and answering, on top of a command's own
_FILES: Final = 30.0  # seconds for reading or writing one file
_TYPED: Final = 2048  # bytes of typing in one frame: what a pipe with any room takes without waiting
_LOOK: Final = 0.25  # seconds until a new size of the screen is seen
_HUNG_UP: Final = 129  # as a shell says it: ended by SIGHUP
_SAID: Final = 1 << 16  # bytes of output in one frame
_FRAMING: Final = 64  # bytes of lengths and small fields around an answer's one large field


def _pairs(env: Mapping[str, str]) -> list[bytes]:
    return [frames.argument(f"{name}={value}") for name, value in env.items()]


def greet(link: Link, *, seconds: float, processes: int | None, timeout: float) -> dict[str, str]:
    """Say hello to PID 1, give it `seconds` to live, and return what it reports of its walls.

    `processes` is set as a resource limit where no cgroup holds it. Raises `SandboxError`.
    """
    fields = [f"{seconds:.3f}".encode(), b"" if processes is None else b"%d" % processes]
    deadline = clock.monotonic() + timeout
    return frames.facts(
        frames.expect(frames.ask(link, frames.HELLO, fields, limit=frames.SMALL, deadline=deadline), frames.POSTURE)
    )


class Session:
    """Implements `contract.Sandbox` on a link whose PID 1 has been greeted and found to be as expected.

    One request at a time. After an interrupt or a breach of the protocol every further request is refused.
    """

    def __init__(
        self,
        link: Link,
        facts: SandboxFacts,
        env: Mapping[str, str],
        end: Callable[[], str | None],
        fetch: Callable[[], None] = lambda: None,
    ) -> None:
        """Take over `link`. `env` is what commands get; `end` kills, cleans up and says why it had ended.

        `fetch` brings the workspace to the host, where it is not there anyway.
        """
        self.facts, self._fetch = facts, fetch
        self._link, self._env, self._end = link, dict(env), end
        self._plain = _pairs(self._env)  # what most commands get
        self._lock, self._over = threading.Lock(), False
        self._closing = threading.Lock()

    def run(
        self,
        argv: Sequence[str],
        *,
        seconds: float,
        env: Mapping[str, str] | None = None,
        output_limit: int = OUTPUT_LIMIT,
    ) -> CommandResult:
        """Run `argv` in the workspace. Raises `SandboxError`, `ValueError` for an argument that no kernel takes.

        A program that is not there ends with 127, one that cannot be executed with 126, as in a shell; a signal with
        128 plus its number.
        """
        fields = [f"{seconds:.3f}".encode(), b"%d" % output_limit, *self._command(argv, env)]
        started = clock.monotonic()
        answer = self._ask(frames.EXEC, fields, limit=output_limit + _FRAMING, seconds=seconds + _GRACE)
        with self._trusting():
            if answer[0] == frames.FAULT:
                raise SandboxError(
                    "the sandbox's PID 1 can start no command any more",
                    hint="what ran in it used up what it has; start again: a sandbox is used for one run only",
                )
            ended = frames.ended(frames.expect(answer, frames.RESULT), output_limit)
        took = clock.monotonic() - started
        return CommandResult(ended.code, ended.output, ended.truncated, ended.timed_out, took)

    def _command(self, argv: Sequence[str], env: Mapping[str, str] | None) -> list[bytes]:
        if not argv or not argv[0]:
            raise ValueError("there is no command to run")
        words = [frames.argument(word) for word in argv]
        return [b"%d" % len(words), *words, *(_pairs({**self._env, **env}) if env else self._plain)]

    def terminal(self, argv: Sequence[str], screen: Screen, *, env: Mapping[str, str] | None = None) -> int:
        """Run `argv` on a terminal made in the sandbox; return its exit code. Raises as `run`."""
        tag, size = secrets.token_bytes(frames.TAG), screen.size()
        fields = [b"%d" % size[0], b"%d" % size[1], *self._command(argv, env)]
        with self._lock:
            if self._over:
                raise SandboxError("the sandbox is gone", hint="start again: a sandbox is used for one run only")
            with self._trusting():
                frames.send(self._link, frames.TERMINAL, tag, fields, clock.monotonic() + _GRACE)
                return self._converse(tag, screen, size)

    def _converse(self, tag: bytes, screen: Screen, size: tuple[int, int]) -> int:
        """Pass on what the program says and what the person types, a piece of each in turn: neither starves the other.

        Nothing is sent unless there is room for all of it: a far side that waits for us to read would not read it.
        """
        typed = b""
        while True:
            now = screen.size()
            news, sendable, more = self._link.wait(screen.descriptor(), _LOOK, to_send=bool(typed) or now != size)
            if news and (code := self._show(tag, screen)) is not None:
                return code
            deadline = clock.monotonic() + _GRACE
            if sendable and now != size:
                size = now
                frames.send(self._link, frames.RESIZE, tag, [b"%d" % size[0], b"%d" % size[1]], deadline)
            elif sendable:
                frames.send(self._link, frames.INPUT, tag, [typed[:_TYPED]], deadline)
                typed = typed[_TYPED:]
            elif more and not (typed := screen.typed()):
                self._over = True  # the person hung up, and the program still runs
                return _HUNG_UP

    def _show(self, tag: bytes, screen: Screen) -> int | None:
        """Show the next piece of what the program says; return its exit code once it has ended."""
        answer = frames.receive(self._link, tag, limit=_SAID + _FRAMING, deadline=clock.monotonic() + _GRACE)
        if answer[0] != frames.OUTPUT:
            return frames.ended(frames.expect(answer, frames.RESULT, "the shell"), 0).code or 0
        if len(answer[1]) != 1:
            raise frames.BrokenError("a piece of output that is not one field")
        screen.show(answer[1][0])
        return None

    def read(self, path: str, limit: int = FILE_LIMIT) -> bytes:
        """Return a regular file's content; raises as the contract says."""
        fields = [frames.argument(path), b"%d" % limit]
        answer = self._ask(frames.READ, fields, limit=limit + _FRAMING, seconds=_FILES)
        with self._trusting():
            fields = list(frames.expect(answer, frames.DATA, path))
            if len(fields) != 1 or len(fields[0]) > limit:
                raise frames.BrokenError("file content that is not one field of the allowed size")
        return fields[0]

    def write(self, path: str, content: bytes) -> None:
        """Create or replace a file of the workspace, whole or not at all; raises as the contract says."""
        if len(content) > FILE_LIMIT:
            raise ValueError(f"{path}: {len(content)} bytes, and at most {FILE_LIMIT} can be written")
        answer = self._ask(frames.WRITE, [frames.argument(path), content], limit=_FRAMING, seconds=_FILES)
        with self._trusting():
            frames.expect(answer, frames.DONE, path)

    def listing(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory; raises as the contract says."""
        answer = self._ask(frames.LIST, [frames.argument(path)], limit=frames.NAMES_LIMIT + _FRAMING, seconds=_FILES)
        with self._trusting():
            return frames.names(frames.expect(answer, frames.NAMES, path))

    def sync(self) -> None:
        """As the contract says. Between two requests: nothing of the workload runs."""
        with self._lock:
            if self._over:
                raise SandboxError("the sandbox is gone", hint="start again: a sandbox is used for one run only")
            self._fetch()

    def close(self) -> None:
        """Hang up, kill and remove everything. Idempotent, bounded in time."""
        with self._closing:
            self._over = True
            self._link.close()
            self._end()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close."""
        self.close()

    def _ask(self, kind: int, fields: Sequence[bytes], *, limit: int, seconds: float) -> tuple[int, tuple[bytes, ...]]:
        with self._lock:
            if self._over:
                raise SandboxError("the sandbox is gone", hint="start again: a sandbox is used for one run only")
            with self._trusting():
                return frames.ask(self._link, kind, fields, limit=limit, deadline=clock.monotonic() + seconds)

    @contextmanager
    def _trusting(self) -> Iterator[None]:
        """End the conversation when anything but a file's fault comes out: its framing is lost from there on."""
        try:
            yield
        except (FileNotFoundError, IsADirectoryError, ValueError):
            raise
        except SandboxError as error:
            self._over = True
            self._link.close()
            reason = self._end()
            raise SandboxError(f"{error.message}{f' ({reason})' if reason else ''}", hint=error.hint) from error
        except BaseException:
            self._over = True
            raise
