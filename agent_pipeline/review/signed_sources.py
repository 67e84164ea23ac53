"""Where the envelopes of all requests lie: in records, in what this clone has seen of them, and with what was merged.

Whoever may push can take away any of it. Nothing is believed here: whose signatures hold, the reader says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from agent_pipeline.attestation import log_entries
from agent_pipeline.attestation.log_entries import Signed
from agent_pipeline.audit import log as audit_log
from agent_pipeline.audit import merges, seen_records
from agent_pipeline.audit.log import Log
from agent_pipeline.documents import strict
from agent_pipeline.documents.log_entry import EVERYTHING
from agent_pipeline.documents.words import counted
from agent_pipeline.errors import AgentPipelineError, RejectedError
from agent_pipeline.repository import attestations, records
from agent_pipeline.repository import dossier as dossiers
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.records import Record
from agent_pipeline.review.logged import about


@dataclass(slots=True)
class Found:
    """What there is of one request: its envelopes, those of each proposal, what the log says, a record to read."""

    request: str
    logged: tuple[Signed, ...]
    record: Record | None = None
    whole: tuple[bytes, ...] = ()
    numbers: dict[int, tuple[bytes, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class Sources:
    """Looks for envelopes; `wanted` says which of those that were merged are kept in memory. `unread` grows."""

    desk: Desk
    log: Log
    wanted: Callable[[bytes], bool]
    unread: list[tuple[str, str]] = field(default_factory=list)
    _tips: dict[str, list[str]] = field(default_factory=dict)
    _attested: dict[str, bytes | None] = field(default_factory=dict)  # by SHA-256; None: not wanted
    _merges: dict[str, str] | None = None
    _tail: dict[str, list[Signed]] | None = None

    def requests(self) -> Iterator[str]:
        """Yield the ids of all requests that anything is known of."""
        self._read_attested()
        for record in records.all_records(self.desk.clone, self.desk.remote):
            self._tips.setdefault(record.id, []).append(record.tip)
        for request, tip in seen_records.seen(self.desk).items():
            self._tips.setdefault(request, []).append(tip)
        logged = (log_entries.read_unsigned(envelope).request for envelope in self.log.envelopes())
        yield from sorted(self._tips.keys() | {request for request in logged if request is not None})

    def of(self, request: str) -> Found:
        """Return what there is of a request; what is not there any more is added to `unread`."""
        found = Found(request, (*about(self.desk, self.log, request).signed, *self._at_the_end(request)))
        whole: dict[str, bytes] = {}
        numbers: dict[int, dict[str, bytes]] = {}
        for tip in dict.fromkeys(self._tips.get(request, ())):
            record = Record(request, tip, self.desk.clone)
            try:
                self._read(record, whole, numbers)
                found.record = found.record or record
            except AgentPipelineError as error:
                self._miss(request, f"its record cannot be read: {error.message}")
        for signed in found.logged:
            if signed.entry.request == request:
                self._logged(signed, whole, numbers)
        found.whole = tuple(whole.values())
        found.numbers = {number: tuple(held.values()) for number, held in numbers.items()}
        return found

    def _at_the_end(self, request: str) -> Iterator[Signed]:
        """Yield the entries about `request` that stand as yet, and are void by the version that the log was read by."""
        if self._tail is None:
            self._tail = {}
            for void in self.log.tail:
                with contextlib.suppress(RejectedError):  # one that nobody believes by any version says nothing
                    signed = log_entries.read(void.envelope, self.desk.landed.root, void.signed.entry.index)
                    if signed.ended is None:
                        self._tail.setdefault(signed.entry.about, []).append(signed)
        yield from (*self._tail.get(request, ()), *self._tail.get(EVERYTHING, ()))

    def _read(self, record: Record, whole: dict[str, bytes], numbers: dict[int, dict[str, bytes]]) -> None:
        asked = record.read(dossiers.REQUEST_FILE)
        held = (*((asked,) if asked is not None else ()), *dossiers.closures(record))
        whole |= {strict.sha256(data): data for data in held}
        for number in sorted({*record.proposals(), *dossiers.runs(record)}):
            envelopes = record.attestations(number).values()
            if envelopes:
                numbers.setdefault(number, {}).update({strict.sha256(data): data for data in envelopes})

    def _logged(self, signed: Signed, whole: dict[str, bytes], numbers: dict[int, dict[str, bytes]]) -> None:
        """Take what an entry names out of what was merged, where no record has it, and say what is nowhere."""
        entry, gone = signed.entry, []
        place = whole if entry.number is None else numbers.setdefault(entry.number, {})
        for digest in entry.envelopes:
            if digest in whole or any(digest in held for held in numbers.values()):
                continue
            if digest not in self._attested:
                gone.append(digest[:16])
            elif (data := self._attested[digest]) is not None:
                place[digest] = data
        if gone:
            name = str(entry.request) if entry.number is None else f"{entry.request}.{entry.number}"
            said = f"{counted(len(gone), 'envelope')} that entry {entry.index} of the log ({entry.event}) names"
            self._miss(name, f"{said}: nowhere any more ({', '.join(gone)})")

    def _read_attested(self) -> None:
        tip = self.desk.tip(attestations.REF)
        try:
            for data in attestations.every(self.desk.clone, tip) if tip is not None else ():
                self._attested[strict.sha256(data)] = data if self.wanted(data) else None
        except AgentPipelineError as error:
            self._miss(attestations.REF, error.message)

    def _miss(self, name: str, why: str) -> None:
        if (name, why) not in self.unread:
            self.unread.append((name, why))

    def revert(self, found: Found) -> str:
        """Return the command that takes a merge back, the words for it where the commit is not found."""
        if self._merges is None:
            self._merges = dict(self._by_entry())
        merged = [one for one in found.logged if (one.entry.event, one.entry.request) == ("merged", found.request)]
        commit = self._merges.get(merged[0].digest) if merged else None
        return f"git revert -m 1 {commit}" if commit is not None else "find its merge commit and revert it"

    def _by_entry(self) -> Iterator[tuple[str, str]]:
        """Yield the SHA-256 of the log's entry that a merge on the protected branch names, and the merge."""
        for commit, claims in merges.of_branch(self.desk).by_entry.items():
            try:
                yield strict.sha256(audit_log.envelope_of(self.desk.clone, commit)), claims[0]
            except AgentPipelineError:
                continue  # anybody's commit message can name anything
