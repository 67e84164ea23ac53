"""Whether what the log names is still there: requests' records, the envelopes in them, the staged branches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from agent_pipeline.attestation.log_entries import Signed
from agent_pipeline.audit.walking import Finding
from agent_pipeline.documents import strict
from agent_pipeline.errors import RejectedError
from agent_pipeline.repository import remotes
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.records import REQUESTS, Record

_KEPT: Final = 64  # records whose envelopes are remembered
_BACK: Final = "restore the ref from another clone or from the forge's own log, and find out who pushed it"


@dataclass(slots=True)
class Named:
    """Looks at every record that entries name; `open` are the staged requests, by id, with who signed for it."""

    desk: Desk
    open: dict[str, Signed] = field(default_factory=dict)
    _gone: set[str] = field(default_factory=set)
    _held: OrderedDict[str, frozenset[str]] = field(default_factory=OrderedDict)

    def by(self, signed: Signed) -> Iterator[Finding]:
        """Yield what an entry names and is not there, each lost record once."""
        entry = signed.entry
        if entry.request is None or entry.request in self._gone:
            return
        self._note(signed)
        ref = REQUESTS + entry.request
        if self.desk.tip(ref) is None:
            self._gone.add(entry.request)
            yield Finding(f"entry {entry.index} is about a record that is gone", _BACK, entry.index, ref, signed.person)
            return
        try:
            missing = [digest for digest in entry.envelopes if digest not in self.envelopes(entry.request)]
        except RejectedError as error:
            self._gone.add(entry.request)
            yield Finding(f"the record cannot be read: {error.message}", _BACK, entry.index, ref, signed.person)
            return
        for digest in missing:
            what = (
                f"entry {entry.index} ({entry.event}) names the envelope {digest[:16]}: it was taken out or exchanged"
            )
            yield Finding(what, _BACK, entry.index, ref, signed.person)

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
            self.open[request] = signed
        elif event in ("merged", "closed", "rejected"):
            self.open.pop(request, None)

    def still_there(self) -> Iterator[Finding]:
        """Yield what was admitted, waits, and is staged no more."""
        for request, signed in sorted(self.open.items()):
            ref = f"refs/heads/agent/{request}"
            at = self.desk.clone.ref(remotes.tracking(self.desk.remote, ref))
            line = f"Agent-Pipeline-Statement: sha256:{signed.entry.statement}"
            if at is not None and line in self.desk.clone.message(at).splitlines():
                continue
            what = "is gone" if at is None else "is another commit than CI staged"
            todo = f"find out who pushed it; `agent-pipeline close {request}` ends it, a new request does it again"
            yield Finding(
                f"the branch that entry {signed.entry.index} admitted {what}",
                todo,
                signed.entry.index,
                ref,
                signed.person,
            )
