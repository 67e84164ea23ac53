"""The byte streams to a sandbox's PID 1. Every wait has a deadline; closing one is what ends the sandbox."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable
from typing import Final, Protocol

from agent_pipeline import clock
from agent_pipeline.errors import SandboxError

_CHUNK: Final = 1 << 20
_AHEAD: Final = 1 << 12  # bytes: most answers whole, and little of a large one twice
_STREAM_HEADER: Final = 8
_STDOUT, _STDERR = 1, 2
_COMPLAINTS: Final = 4096
_HEED: Final = 0.25  # seconds until an interrupt is heeded that came just before a wait


class Link(Protocol):
    """A byte stream in both directions. `deadline` is on the monotonic clock."""

    def send(self, data: bytes, deadline: float) -> None:
        """Send all of `data`. Raises `SandboxError` when the far side is gone or does not read."""

    def receive(self, size: int, deadline: float) -> bytes:
        """Return exactly `size` bytes. Raises `SandboxError` when the stream ends or the deadline passes before."""

    def wait(self, other: int, seconds: float, *, to_send: bool) -> tuple[bool, bool, bool]:
        """Wait for news; return whether something arrived, whether some 4 kB can be sent, whether `other` is readable.

        Sending is looked at only when there is something `to_send`, and `other`, a descriptor, only when there is not.
        Raises `SandboxError` when it was closed.
        """

    def complaints(self) -> str:
        """Return the beginning of what the far side said on stderr, for an error message."""

    def close(self) -> None:
        """Hang up. Idempotent, never waits."""


class _Waiting:
    """Waits on two descriptors, which may be one. Calls are what an answer's time is made of: it asks for few."""

    def __init__(self, reader: int, writer: int) -> None:
        self.reader, self.writer = reader, writer
        self._ahead = b""  # what was read and not asked for yet
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        self._arriving, self._leaving = select.poll(), select.poll()
        self._arriving.register(reader, select.POLLIN)
        self._leaving.register(writer, select.POLLOUT)

    def news(self, other: int, seconds: float, *, to_send: bool) -> tuple[bool, bool, bool]:
        poller = select.poll()
        poller.register(self.reader, select.POLLIN)
        if to_send:
            poller.register(self.writer, select.POLLOUT | (select.POLLIN if self.writer == self.reader else 0))
        else:
            poller.register(other, select.POLLIN)
        found = dict(poller.poll(0 if self._ahead else seconds * 1000))
        sendable = to_send and bool(found.get(self.writer, 0) & (select.POLLOUT | select.POLLERR))
        here = found.get(self.reader, 0) & (select.POLLIN | select.POLLHUP | select.POLLERR)
        return bool(self._ahead or here), sendable, not to_send and other in found

    @staticmethod
    def _wait(poller: select.poll, deadline: float) -> None:
        """Wait until there is something, in slices.

        Python hears of a signal between two of its own steps: one that comes after the last and before the kernel's
        wait ends no wait, so none may be as long as a command.
        """
        while not poller.poll(max(min(deadline - clock.monotonic(), _HEED), 0) * 1000):
            if clock.monotonic() >= deadline:
                raise SandboxError("the sandbox did not answer in time")

    def send(self, data: bytes, deadline: float) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self.writer, rest[:_CHUNK]) :]
            except BlockingIOError:
                self._wait(self._leaving, deadline)
            except OSError as error:
                raise SandboxError("the sandbox is gone") from error

    def some(self, size: int, deadline: float) -> bytes:
        """Return at least one and at most `size` bytes."""
        if not self._ahead:
            self._ahead = self._read(max(min(size, _CHUNK), _AHEAD), deadline)
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

    def _read(self, size: int, deadline: float) -> bytes:
        while True:
            self._wait(self._arriving, deadline)
            try:
                data = os.read(self.reader, size)
            except BlockingIOError:
                continue
            except OSError as error:
                raise SandboxError("the sandbox is gone") from error
            if not data:
                raise SandboxError("the sandbox is gone")
            return data

    def exactly(self, size: int, deadline: float) -> bytes:
        if 0 < size <= len(self._ahead):
            return self.some(size, deadline)
        data = bytearray()
        while len(data) < size:
            data += self.some(size - len(data), deadline)
        return bytes(data)


class _Shared:
    """Lets one thread close what another is waiting on: the descriptors go when nobody uses them any more.

    A descriptor that is closed under a waiting thread could be another file's by the time that thread reads from it.
    """

    def __init__(self, release: Callable[[], None]) -> None:
        self._release, self._closed, self._busy = release, threading.Event(), threading.Lock()

    def __enter__(self) -> None:
        self._busy.acquire()
        if self._closed.is_set():
            self._busy.release()
            raise SandboxError("the sandbox was closed")

    def __exit__(self, *exc: object) -> None:
        try:
            if self._closed.is_set():
                self._release()
        finally:
            self._busy.release()

    def close(self) -> None:
        self._closed.set()
        if self._busy.acquire(blocking=False):
            try:
                self._release()
            finally:
                self._busy.release()


class PipeLink:
    """Two pipes and one for stderr: a process of our own. Owns the descriptors."""

    def __init__(self, reader: int, writer: int, errors: int | None = None) -> None:
        """Take over the descriptors: `reader` is the far side's stdout, `writer` its stdin, `errors` its stderr."""
        self._waiting, self._errors = _Waiting(reader, writer), errors
        self._owned = [descriptor for descriptor in (reader, writer, errors) if descriptor is not None]
        self._shared = _Shared(self._release)
        if errors is not None:
            os.set_blocking(errors, False)

    def send(self, data: bytes, deadline: float) -> None:
        """As `Link`."""
        with self._shared:
            self._waiting.send(data, deadline)

    def receive(self, size: int, deadline: float) -> bytes:
        """As `Link`."""
        with self._shared:
            return self._waiting.exactly(size, deadline)

    def wait(self, other: int, seconds: float, *, to_send: bool) -> tuple[bool, bool, bool]:
        """As `Link`."""
        with self._shared:
            return self._waiting.news(other, seconds, to_send=to_send)

    def complaints(self) -> str:
        """As `Link`. Only what is there now."""
        if self._errors is None or not self._owned:
            return ""
        try:
            return os.read(self._errors, _COMPLAINTS).decode("utf-8", "backslashreplace").strip()
        except OSError:
            return ""

    def close(self) -> None:
        """As `Link`."""
        self._shared.close()

    def _release(self) -> None:
        while self._owned:
            os.close(self._owned.pop())


class AttachedLink:
    """The Docker engine's attach stream: what the container says arrives in blocks marked stdout or stderr.

    Source: the Engine API's "ContainerAttach", stream format.
    """

    def __init__(self, attached: socket.socket) -> None:
        """Take over the connected socket."""
        self._socket, self._waiting = attached, _Waiting(attached.fileno(), attached.fileno())
        self._stderr = bytearray()
        self._left = 0  # of the stdout block that is being read
        self._shared = _Shared(attached.close)

    def send(self, data: bytes, deadline: float) -> None:
        """As `Link`."""
        with self._shared:
            self._waiting.send(data, deadline)

    def receive(self, size: int, deadline: float) -> bytes:
        """As `Link`. Blocks of stderr are kept apart, and only the first bytes of them."""
        data = bytearray()
        with self._shared:
            while len(data) < size:
                if not self._left:
                    self._next_block(deadline)
                    continue
                part = self._waiting.some(min(self._left, size - len(data)), deadline)
                self._left -= len(part)
                data += part
        return bytes(data)

    def _next_block(self, deadline: float) -> None:
        header = self._waiting.exactly(_STREAM_HEADER, deadline)
        kind, size = header[0], int.from_bytes(header[4:], "big")
        if kind == _STDOUT:
            self._left = size
        elif kind == _STDERR:
            while size:
                part = self._waiting.some(size, deadline)
                size -= len(part)
                self._stderr += part[: max(_COMPLAINTS - len(self._stderr), 0)]
        else:
            raise SandboxError(f"the Docker engine sent a block of unknown kind {kind}")

    def wait(self, other: int, seconds: float, *, to_send: bool) -> tuple[bool, bool, bool]:
        """As `Link`."""
        with self._shared:
            return self._waiting.news(other, seconds, to_send=to_send)

    def complaints(self) -> str:
        """As `Link`."""
        return self._stderr.decode("utf-8", "backslashreplace").strip()

    def close(self) -> None:
        """As `Link`. Must come before anything else is asked of the engine.

        An attached client that does not read makes its `kill` and `inspect` wait (moby/moby#41827).
        """
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._shared.close()
