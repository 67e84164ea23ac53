"""Asking for a passphrase or a PIN, in the signing child: on the terminal, or through SSH_ASKPASS's program.

What was typed and opened something is kept in a box that the whole command shares, so that it is typed once. The parent
holds the box and the terminal's descriptor and reads neither.
"""

from __future__ import annotations

import os
import termios
from dataclasses import dataclass
from typing import Any, Final

from agent_pipeline import process
from agent_pipeline.errors import RejectedError, UsageError
from agent_pipeline.signing import boxes

ASKPASS: Final = "SSH_ASKPASS"
ASK_SECONDS: Final = 240
_LONGEST: Final = 1024


class WrongPinError(UsageError):
    """A token did not take a PIN: whoever tries again spends one of the few tries that it allows."""


@dataclass(frozen=True, slots=True)
class Unlock:
    """How a secret may be had. `box` and `terminal` are descriptors; `given` says who filled the box beforehand."""

    box: int
    given: str = ""
    terminal: int | None = None
    askpass: str | None = None

    def known(self) -> bytes | None:
        """Return the secret that was given or typed before, or None."""
        return boxes.get(self.box) or None

    def ask(self, what: str, otherwise: str) -> bytes:
        """Return the secret, asked for as `what`. Raises `UsageError` where nobody can be asked; says what to do."""
        known = self.known()
        if known is not None:
            return known
        if self.terminal is not None:
            return _typed(self.terminal, f"agent-pipeline: {what}: ")
        if self.askpass is not None:
            return _asked(self.askpass, f"agent-pipeline: {what}: ")
        raise UsageError(f"{what} is not known, and nobody is here to be asked", hint=otherwise)

    def opened(self, secret: bytes) -> None:
        """Keep a secret that has opened what it is for, for the rest of the command."""
        boxes.put(self.box, secret)

    def new(self, what: str) -> bytes | None:
        """Return a new secret, asked twice; None for an empty one. Raises `UsageError` when the two differ."""
        otherwise = "set AGENT_PIPELINE_KEY_PASSPHRASE, or do it on a terminal"
        first = self.ask(what, otherwise)
        if first != self.ask("the same again", otherwise):
            raise UsageError("the two passphrases differ", hint="nothing was made; try again")
        return first or None


def from_plain(value: dict[str, Any]) -> Unlock:
    """Read what the parent says."""
    return Unlock(**value)


def _typed(terminal: int, prompt: str) -> bytes:
    """Ask on the terminal without showing what is typed. The parent sets it right again if we are killed meanwhile."""
    before = termios.tcgetattr(terminal)
    silent = [*before]
    silent[3] = (before[3] & ~termios.ECHO) | termios.ECHONL | termios.ICANON
    try:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
        os.write(terminal, prompt.encode())
        line = os.read(terminal, _LONGEST)
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
    if not line.endswith(b"\n"):  # the end of input, or a line that is no passphrase
        raise RejectedError("nothing was typed", hint="try again")
    return line.rstrip(b"\r\n")


def _asked(program: str, prompt: str) -> bytes:
    done = process.run([program, prompt], env=process.inherited(*DISPLAY), timeout=ASK_SECONDS, limit=_LONGEST)
    if not done.ok or done.truncated:
        raise RejectedError(f"{ASKPASS} ({program}) was cancelled or failed (exit {done.code})", hint="try again")
    return done.stdout.rstrip(b"\r\n")


# What a program that asks on a screen needs to find it.
DISPLAY: Final = (
    "PATH", "HOME", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS",
)  # fmt: skip
