"""The person's own terminal, for as long as a shell in a sandbox is shown on it."""

from __future__ import annotations

import os
import termios
import tty
from types import TracebackType
from typing import Self

from agent_pipeline.errors import UsageError

_READ = 4096


class Terminal:
    """Implements `sandbox.contract.Screen` on /dev/tty, which is never handed to the sandbox itself.

    Within its block the terminal passes every key on (Ctrl-C too); afterwards it is as it was.
    """

    def __init__(self) -> None:
        """Open the terminal. Raises `UsageError` when there is none."""
        try:
            self._file = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(
                "a shell needs a terminal, and there is none here",
                hint="run it from a terminal; for one command use a check of the policy",
            ) from error
        self._before = termios.tcgetattr(self._file)

    def __enter__(self) -> Self:
        """Pass every key on."""
        tty.setraw(self._file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the terminal back as it was, and close it."""
        try:
            termios.tcsetattr(self._file, termios.TCSAFLUSH, self._before)
        except termios.error:
            pass  # the terminal itself is gone
        finally:
            os.close(self._file)

    def descriptor(self) -> int:
        """As `Screen`."""
        return self._file

    def size(self) -> tuple[int, int]:
        """As `Screen`; what a terminal that does not know its size is taken to have is 24 by 80."""
        try:
            rows, columns = termios.tcgetwinsize(self._file)
        except termios.error:
            rows, columns = 0, 0
        return rows or 24, columns or 80

    def typed(self) -> bytes:
        """As `Screen`."""
        try:
            return os.read(self._file, _READ)
        except OSError:
            return b""  # the terminal was closed

    def show(self, data: bytes) -> None:
        """As `Screen`."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest) :]
