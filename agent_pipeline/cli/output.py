"""How commands speak: data on stdout, talk on stderr, errors with advice."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TextIO

from agent_pipeline import interrupts
from agent_pipeline.documents.characters import is_hidden, visible
from agent_pipeline.errors import AgentPipelineError


def printable(text: str) -> str:
    """Return `text` with what draws nothing or moves what others draw made visible: no name repaints a terminal."""
    return "".join(char if char in "\n\t" or not is_hidden(char) else visible(char) for char in text)


def in_one_line(text: str) -> str:
    """Return `text` without line breaks: what a person or a document wrote begins no line of its own."""
    return " ".join(text.splitlines())


def abandon(stream: TextIO) -> None:
    """Write to nowhere from now on: what could not be written would be tried again at the end, and be the exit code."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _below(text: str) -> str:
    """Return `text` with every line but the first marked as one that goes on."""
    first, *others = text.splitlines() or [""]
    return "\n".join([first, *(line if line.startswith("  | ") else f"  | {line}" for line in others)])


@dataclass(frozen=True, slots=True)
class Output:
    """Where one command speaks. With `as_json`, stdout carries exactly one JSON document."""

    as_json: bool
    _printed: list[bool] = field(default_factory=list)  # whether the document is out, for an interrupt right after it

    def talk(self, line: str) -> None:
        """Say a line to the person; never data. Where it cannot be said, nothing else changes for that."""
        try:
            print(printable(line), file=sys.stderr, flush=True)  # noqa: T201 - the place where talk is printed
        except OSError:
            abandon(sys.stderr)

    def tell(self, text: str) -> None:
        """Say something that may hold others' words, in one line."""
        self.talk(in_one_line(text))

    def line(self, line: str) -> None:
        """Print a line of data for a person; silent with `--json`."""
        if not self.as_json:
            print(printable(line), flush=True)  # noqa: T201 - the place where data is printed

    def finish(self, document: Any, human: Callable[[], str] | None = None) -> None:  # noqa: ANN401 - any JSON value
        """Print the command's data: the document with `--json`, else what `human` makes of it."""
        if self.as_json:
            self._print(json.dumps(document, indent=2, ensure_ascii=True))
        elif human is not None and (text := human()):
            sys.stdout.write(printable(text).rstrip("\n") + "\n")
            sys.stdout.flush()

    def error(self, error: AgentPipelineError, about: dict[str, Any] | None = None) -> None:
        """Say what is wrong and what to do next; with `--json` as the one document too, beside what it is `about`."""
        hint = error.hint or error.advice
        self.talk(f"error: {_below(error.message)}")
        self.talk(f"  next: {_below(hint)}")
        self._document(type(error).__name__, error.message, hint, about or {})

    def interrupted(self, about: dict[str, Any] | None = None) -> None:
        """Say that the person stopped it."""
        message, hint = "interrupted; nothing was left running", "run it again, or see `agent-pipeline list`"
        self.talk(message)
        self._document("Interrupted", message, hint, about or {})

    def _document(self, kind: str, message: str, hint: str, about: dict[str, Any]) -> None:
        if self.as_json:
            self._print(json.dumps(about | {"error": {"kind": kind, "message": message, "hint": hint}}))

    def _print(self, document: str) -> None:
        """Print the one document, whole; a second one has come too late."""
        with interrupts.held_back():
            if not self._printed:
                self._printed.append(True)
                sys.stdout.write(document + "\n")
                sys.stdout.flush()
