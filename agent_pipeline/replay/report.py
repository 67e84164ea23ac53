"""Reading what our reporter wrote inside the sandbox: untrusted bytes, strictly bounded.

The code under test can write this file too. It may lie about its own tests, nothing more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

MAX_BYTES: Final = 16 << 20
MAX_TESTS: Final = 100_000
MAX_NAME: Final = 4000


@dataclass(frozen=True, slots=True)
class Report:
    """Test names by outcome. `complete` means that the session ended and wrote its end record with `status`."""

    passed: frozenset[str]
    failed: frozenset[str]
    skipped: frozenset[str]
    complete: bool
    status: int | None


EMPTY: Final = Report(frozenset(), frozenset(), frozenset(), complete=False, status=None)


def parse(data: bytes) -> Report:
    """Read a report. Anything that is not exactly the reporter's form makes it incomplete; nothing is raised."""
    if len(data) > MAX_BYTES:
        return EMPTY
    outcomes: dict[str, str] = {}
    lines = [_record(line) for line in data.splitlines()]
    if len(lines) > MAX_TESTS or any(line is None for line in lines) or not lines or lines[0] != ["start"]:
        return EMPTY
    records: list[list[Any]] = [line for line in lines if line is not None]
    status = records[-1][1] if records[-1][0] == "end" else None
    for record in records[1 : None if status is None else -1]:
        if record[0] != "test" or record[1] in outcomes:
            return EMPTY
        outcomes[record[1]] = record[2]
    named = {wanted: frozenset(name for name, outcome in outcomes.items() if outcome == wanted) for wanted in _OUTCOMES}
    return Report(named["passed"], named["failed"], named["skipped"], complete=status is not None, status=status)


_OUTCOMES: Final = ("passed", "failed", "skipped")


def _record(line: bytes) -> list[Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    match value:
        case ["start"]:
            return ["start"]
        case ["end", int(status)] if not isinstance(status, bool):
            return ["end", status]
        case ["test", str(name), str(outcome)] if len(name) <= MAX_NAME and outcome in _OUTCOMES:
            return ["test", name.encode("utf-8", "replace").decode("utf-8"), outcome]
        case _:
            return None
