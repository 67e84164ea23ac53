"""Whether an entry could come where it stands: what was stopped, closed, rejected or never admitted does not land.

CI refuses such a step before it signs. A merger's or CI's key in other hands, or a program of its own, can sign it all
the same, and every signature, root and ref of it is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from agent_pipeline.attestation.log_entries import Signed, standing_rejections
from agent_pipeline.audit.entries import HELD_BACK
from agent_pipeline.documents.log_entry import LogEntry

_LETS: Final = ("resumed", "admitted", "approved")  # without which something that came later could not be there
_ENDS: Final = ("rejected", "approved", "closed", "merged")


@dataclass(slots=True)
class Order:
    """What the entries that stand have said so far, as far as it forbids something."""

    _stopped: int | None = None
    _admitted: set[str] = field(default_factory=set)
    _ends: dict[str, list[LogEntry]] = field(default_factory=dict)

    def broken_by(self, signed: Signed) -> Iterator[str]:
        """Yield why `signed`, the next entry that stands, may not be there, and go on from it."""
        entry = signed.entry
        if entry.event in HELD_BACK and self._stopped is not None:
            yield f"{entry.event} while everything was stopped, since entry {self._stopped}"
        if entry.event == "merged":
            yield from self._merged(entry)
        self._note(entry)

    def pass_over(self, signed: Signed) -> None:
        """Go on from a void entry: it forbids nothing, and who went by it before it was void did nothing wrong.

        What rests on it the list of `trust revoke` says, and the staged commit that a key in other hands signed.
        """
        if signed.entry.event in _LETS:
            self._note(signed.entry)

    def _merged(self, entry: LogEntry) -> Iterator[str]:
        """Yield what the log said before of what `entry` says was merged. An admission may cross a closure on its way.

        A merge may not: it is published only on the log that it was decided on.
        """
        if entry.statement not in self._admitted:
            yield "merged what no entry before it admitted"
        ends = self._ends.get(str(entry.request), [])
        mine = [one for one in ends if one.statement == entry.statement]
        before = [*standing_rejections(mine), *(one for one in ends if one.event in ("closed", "merged"))]
        for one in before:
            yield f"merged what entry {one.index} {one.event if one.event != 'merged' else 'had merged'}"

    def _note(self, entry: LogEntry) -> None:
        if entry.event in ("stopped", "resumed"):
            self._stopped = entry.index if entry.event == "stopped" else None
        elif entry.event == "admitted":
            self._admitted.add(str(entry.statement))
        elif entry.event in _ENDS:
            self._ends.setdefault(str(entry.request), []).append(entry)
