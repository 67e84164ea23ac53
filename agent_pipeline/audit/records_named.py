"""Whether what the log names is still there: requests' records, all that is in them, the staged branches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from agent_pipeline.attestation.log_entries import Signed, standing_rejections
from agent_pipeline.audit import record_whole, seen_records, signed_commits
from agent_pipeline.audit.record_whole import Bound
from agent_pipeline.audit.walking import Finding
from agent_pipeline.documents import strict
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.errors import RejectedError
from agent_pipeline.repository import commits, remotes
from agent_pipeline.repository.dossier import REQUEST_FILE
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.records import REQUESTS, Record

_KEPT: Final = 64  # records whose envelopes are remembered
_NOBODY: Final = "Git does not say who deleted it"
_BACK: Final = "restore the ref from another clone or from the forge's own log, and find out who pushed it"


@dataclass(slots=True)
class Named:
    """Looks at every record that entries name; `open` are the staged requests, by id, with who signed for it.

    `asked` has the index of the first entry that names a request's own envelope, `ended` the requests that CI rejected
    or somebody closed, and that were never admitted: whatever is wrong with them was found out. `admissions` has the
    index of each proposal's newest admission, by its statement.
    """

    desk: Desk
    open: dict[str, Signed] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    admissions: dict[str, int] = field(default_factory=dict)
    _admitted: dict[str, Signed] = field(default_factory=dict)
    _ends: dict[str, list[LogEntry]] = field(default_factory=dict)
    _looked: set[tuple[str, int | None, str | None]] = field(default_factory=set)
    _held: OrderedDict[str, frozenset[str]] = field(default_factory=OrderedDict)
    _seen: dict[str, str] | None = None

    def by(self, signed: Signed) -> Iterator[Finding]:
        """Yield what an entry names and is not there, each lost record once."""
        entry = signed.entry
        if entry.request is None:
            return
        self._note(signed)
        if entry.request in self.gone:
            return
        ref = REQUESTS + entry.request
        tip = self.desk.tip(ref)
        if tip is None:
            self.gone.add(entry.request)
            what = f"a record is gone: {_named(signed)}; {_NOBODY}"
            yield Finding(what, self.back(entry.request), entry.index, ref)
            return
        try:
            yield from self._there(signed, Record(entry.request, tip, self.desk.clone))
        except RejectedError as error:
            self.gone.add(entry.request)
            what = f"a record cannot be read: {error.message}; {_named(signed)}"
            yield Finding(what, self.back(entry.request), entry.index, ref, None, self._by(tip))

    def _there(self, signed: Signed, record: Record) -> Iterator[Finding]:
        """Yield what is missing of a record, or is another than was decided on."""
        entry, ref = signed.entry, REQUESTS + record.id
        held = self.envelopes(record.id)
        asked = record.read(REQUEST_FILE)
        if asked is not None and strict.sha256(asked) in entry.envelopes:
            self.asked.setdefault(record.id, entry.index)
        back, committer = self.back(record.id), self._by(record.tip)
        for digest in [digest for digest in entry.envelopes if digest not in held]:
            what = f"the envelope {digest[:16]} was taken out or exchanged: {_named(signed)}"
            yield Finding(what, back, entry.index, ref, None, committer)
        if self._first(record.id, None, None):
            for cut in record_whole.cuts(record):
                what = f"a record only grows, and step {cut.commit[:12]} {cut.what}; {_named(signed)}"
                yield Finding(what, back, entry.index, ref, None, self._by(cut.commit))
        if entry.event in ("admitted", "merged", "rejected") and self._first(record.id, entry.number, entry.statement):
            for lost in record_whole.exchanged(record, entry):
                yield Finding(f"{lost}: the proposal is {_named(signed)}", back, entry.index, ref, None, committer)

    def _first(self, request: str, number: int | None, statement: str | None) -> bool:
        key = (request, number, statement)
        new = key not in self._looked
        self._looked.add(key)
        return new

    def back(self, request: str) -> str:
        """Return how a record comes back: by what this clone has seen of it, where it has."""
        if self._seen is None:
            self._seen = seen_records.seen(self.desk)
        if request not in self._seen:
            return _BACK
        put = f"git push --force {self.desk.remote} {self._seen[request]}:{REQUESTS}{request}"
        return f"find out who pushed it; this clone has it yet: {put}"

    def _by(self, commit: str) -> str:
        return commits.committer(self.desk.clone, commit)

    def envelopes(self, request: str) -> frozenset[str]:
        """Return the SHA-256 of every envelope in a record. Raises `SchemaError` for one that cannot be read."""
        if request not in self._held:
            tip = self.desk.tip(REQUESTS + request)
            held = Record(request, tip, self.desk.clone).envelopes("") if tip is not None else {}
            self._held[request] = frozenset(strict.sha256(data) for data in held.values())
            while len(self._held) > _KEPT:
                self._held.popitem(last=False)
        return self._held[request]

    def _note(self, signed: Signed) -> None:
        request, event = str(signed.entry.request), signed.entry.event
        if event == "admitted":
            self.open[request] = self._admitted[request] = signed
            self.admissions[str(signed.entry.statement)] = signed.entry.index
        elif event in ("merged", "closed", "rejected"):
            self._ends.setdefault(request, []).append(signed.entry)
            self.open.pop(request, None)
            self.ended.add(request)
        elif event == "approved" and request in self._admitted:
            ends = self._ends.setdefault(request, [])
            ends.append(signed.entry)
            if not standing_rejections(ends) and all(one.event in ("rejected", "approved") for one in ends):
                self.open[request] = self._admitted[request]
        self.ended -= self._admitted.keys()

    def bound(self, entry: LogEntry) -> Bound | None:
        """Return base and tree of the proposal that `entry` is about, None where the record does not tell them."""
        tip = self.desk.tip(REQUESTS + str(entry.request))
        if tip is None:
            return None
        try:
            return record_whole.bound(Record(str(entry.request), tip, self.desk.clone), entry)
        except RejectedError:  # `by` has said so
            return None

    def still_there(self) -> Iterator[Finding]:
        """Yield what was admitted, waits, and is staged no more, or is another commit than CI signed."""
        for request, signed in sorted(self.open.items()):
            ref, entry = f"refs/heads/agent/{request}", signed.entry
            todo = f"find out who pushed it; `agent-pipeline close {request}` ends it, a new request does it again"
            at = self.desk.clone.ref(remotes.tracking(self.desk.remote, ref))
            if at is None:
                what = f"a staged branch is gone ({_NOBODY}): {_named(signed)}"
                yield Finding(what, todo, entry.index, ref)
                continue
            odd = list(signed_commits.staged(self.desk, at, entry, entry.index, self.bound(entry)))
            if odd:
                what = f"a staged branch is another commit than CI staged ({'; '.join(odd)}): {_named(signed)}"
                yield Finding(what, todo, entry.index, ref, None, self._by(at))


def _named(signed: Signed) -> str:
    """Say which entry names something, and whose that entry is: not whose the loss is."""
    return f"named by entry {signed.entry.index} of the log ({signed.entry.event}), signed by {signed.person}"
