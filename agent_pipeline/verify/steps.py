"""How one numbered step is run: it returns why it holds, or raises why it does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from agent_pipeline.documents.verification import FAILED, PASSED, SKIPPED, UNKNOWN, Check
from agent_pipeline.errors import AgentPipelineError, RejectedError, UnavailableError

MAX_REASON = 1000
C = TypeVar("C")
Step = Callable[[C], str]


class Skip(Exception):  # noqa: N818 - no error: a step that has nothing to look at
    """The step cannot be taken or does not apply; its message says why."""


def require(holds: object, reason: str) -> None:
    """Raise `RejectedError` with `reason` unless `holds`."""
    if not holds:
        raise RejectedError(reason)


def equal(what: str, **values: Any) -> None:  # noqa: ANN401 - any values of documents
    """Raise `RejectedError` unless all values are equal; the names say where each was found."""
    found = list(values.values())
    if found.count(found[0]) != len(found):
        said = ", ".join(f"{where.replace('_', ' ')} says {str(value)[:120]!r}" for where, value in values.items())
        raise RejectedError(f"{what} is not the same everywhere: {said}")


def run(steps: Sequence[tuple[str, Step[C]]], case: C, *, first: int = 1) -> tuple[Check, ...]:
    """Take every step, whatever the others said; numbers start at `first`."""
    return tuple([_take(f"{number:02d} {name}", step, case) for number, (name, step) in enumerate(steps, first)])


def _take(name: str, step: Step[C], case: C) -> Check:
    try:
        return Check(name, PASSED, printable(step(case)))
    except Skip as skip:
        return Check(name, SKIPPED, printable(str(skip)))
    except UnavailableError as error:
        return Check(name, UNKNOWN, printable(error.message))
    except AgentPipelineError as error:
        hint = f" ({error.hint})" if error.hint else ""
        return Check(name, FAILED, printable(error.message + hint))


def printable(text: str) -> str:
    """Return `text` in one line, without characters that act on a terminal, cut to a length."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= MAX_REASON else text[: MAX_REASON - 1] + "…"
