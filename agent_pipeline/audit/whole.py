"""Everything that the log says, compared with everything that it is about: what `audit verify` finds.

One entry, one record and one merge are looked at at a time, however long the log. A finding is a no; what Git cannot
read is a `GitError`, and neither is a yes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from agent_pipeline.audit import high_water, merges
from agent_pipeline.audit import log as audit_log
from agent_pipeline.audit.order import Order
from agent_pipeline.audit.records_named import Named
from agent_pipeline.audit.records_there import There
from agent_pipeline.audit.walking import Finding, Passed, finding, walk
from agent_pipeline.errors import RejectedError
from agent_pipeline.repository import remotes
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.records import LOG

_RESTORE = "restore it from another clone, which may have it yet, and find out who moved it"


@dataclass(slots=True)
class Audit:
    """An audit that is going on: `size` entries and `records` were gone through so far, `void` of the entries void."""

    desk: Desk
    size: int = 0
    void: int = 0
    merged: int = 0
    records: int = 0
    _merges: merges.Merges | None = field(default=None)
    _order: Order = field(default_factory=Order)

    def findings(self) -> Iterator[Finding]:
        """Yield everything that is wrong, as it is found. Raises `GitError` when something could not be told."""
        desk = self.desk
        try:
            log = audit_log.read(desk.clone, desk.remote, desk.landed.root)
            yield from self._high_water(log)
        except RejectedError as error:
            yield Finding(error.message, error.hint or _RESTORE, ref=LOG)
        head = desk.clone.ref(remotes.tracking(desk.remote, LOG))
        self._merges = merges.of_branch(desk)
        named = Named(desk)
        if head is not None:
            yield from self._entries(named, head)
        yield from self._merges.unknown()
        there = There(desk, named)
        yield from there.findings()
        self.records = there.size

    def _high_water(self, log: audit_log.Log) -> Iterator[Finding]:
        try:
            high_water.check(self.desk, log)
        except RejectedError as error:
            yield Finding(error.message, error.hint or _RESTORE, ref=LOG)

    def _entries(self, named: Named, head: str) -> Iterator[Finding]:
        try:
            for step in walk(self.desk.clone, self.desk.landed.root, head):
                if isinstance(step, Finding):
                    yield step
                    continue
                self.size += 1
                if step.signed.ended is None:
                    yield from self._about(named, step)
                else:
                    self.void += 1
                    self._order.pass_over(step.signed)
        except RejectedError as error:
            yield Finding(error.message, error.hint or _RESTORE, self.size, LOG)
        yield from named.still_there()

    def _about(self, named: Named, step: Passed) -> Iterator[Finding]:
        for what in self._order.broken_by(step.signed):
            yield finding(self.desk.clone, step.commit, step.signed, what)
        yield from named.by(step.signed)
        if step.signed.entry.event == "merged" and self._merges is not None:
            self.merged += 1
            yield from self._merges.made(step, named)
