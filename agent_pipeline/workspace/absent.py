"""What of the base's tree an agent did not get: in a line for people, and as the note that the run's transcript keeps.

The transcript's digest is in the signed provenance: the note is the runner's word, like all that it says. Lists are
bounded, and the counts are not: a policy may withhold a hundred thousand files.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest
from itertools import accumulate, takewhile
from typing import Any, Final

from agent_pipeline.documents import strict, transcript
from agent_pipeline.documents.characters import visible
from agent_pipeline.errors import SchemaError
from agent_pipeline.workspace.copy import Workspace

EVENT: Final = "copy"
LISTED: Final = 200
_CHARS: Final = 100_000  # of all listed paths together
_TOLD: Final = 5
_LOOKED_AT: Final = 4  # lines of a transcript: the note follows its header
_KINDS: Final = {
    "withheld": "withheld by the policy (paths.read)",
    "left_out": "left out, since no directory can hold it",
}


def lists(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Return of each kind how many paths there are, and the first of them in order."""
    copied = workspace.missing.copied
    return {"withheld": _bounded(copied.withheld), "left_out": _bounded(copied.left_out)}


def _bounded(paths: Sequence[bytes]) -> dict[str, Any]:
    first = [visible(path.decode("utf-8", "surrogateescape")) for path in nsmallest(LISTED, paths)]
    room = takewhile(lambda used: used <= _CHARS, accumulate(map(len, first)))
    return {"count": len(paths), "paths": first[: sum(1 for _ in room)]}


def told(found: dict[str, dict[str, Any]] | None, where: str = "") -> list[str]:
    """Return a line for each kind that has any: the first few, how many more, and `where` they are listed."""
    return [f"{words}: {_few(found[kind], where)}" for kind, words in _KINDS.items() if found and found[kind]["count"]]


def _few(one: dict[str, Any], where: str) -> str:
    few = one["paths"][:_TOLD]
    more = one["count"] - len(few)
    if not more:
        return ", ".join(few)
    listed = len(one["paths"])
    what = "all" if listed == one["count"] else f"the first {listed}"
    return f"{', '.join(few)} and {more} more" + (f"; {where} lists {what}" if where else "")


def note(found: dict[str, dict[str, Any]]) -> tuple[str, str]:
    """Return the event and the detail of the transcript's note."""
    return EVENT, strict.canonical(found).decode("utf-8")


def noted(data: bytes) -> dict[str, dict[str, Any]] | None:
    """Return what the note of a transcript says; None for a transcript without one, or with another form of it."""
    for line in data.split(b"\n", _LOOKED_AT)[:_LOOKED_AT]:
        try:
            record = strict.parse(line, what="a line of the transcript", max_bytes=transcript.MAX_LINE)
        except SchemaError:
            return None
        if isinstance(record, dict) and (record.get("type"), record.get("event")) == ("note", EVENT):
            return parsed(record.get("detail"))
    return None


def parsed(detail: object) -> dict[str, dict[str, Any]] | None:
    """Return what a note's detail says; None where it has another form than ours: a record's bytes are anybody's."""
    try:
        found = strict.parse(str(detail).encode("utf-8"), what="the transcript's note")
    except (SchemaError, UnicodeEncodeError):
        return None
    return found if _is_ours(found) else None


def _is_ours(found: object) -> bool:
    if not isinstance(found, dict) or found.keys() != _KINDS.keys():
        return False
    return all(isinstance(one, dict) and one.keys() == {"count", "paths"} and _adds_up(**one) for one in found.values())


def _adds_up(count: object, paths: object) -> bool:
    if type(count) is not int or not isinstance(paths, list) or len(paths) > count:
        return False
    return all(isinstance(path, str) for path in paths)
