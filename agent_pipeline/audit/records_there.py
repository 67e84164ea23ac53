"""Every ref of a request, whether or not the log names it: records that nobody's request began, and those that went."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from agent_pipeline.audit import asked, seen_records
from agent_pipeline.audit.records_named import Named
from agent_pipeline.audit.walking import Finding
from agent_pipeline.documents.characters import visible
from agent_pipeline.errors import GitError, RejectedError
from agent_pipeline.repository import commits, growth, remotes
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.records import REQUESTS, Record, is_id

_LOOK: Final = "look at it, find out who pushed it, and delete the ref unless you know why it is there"


@dataclass(slots=True)
class There:
    """Looks at every record; `size` were looked at so far. `named` has gone through the log before."""

    desk: Desk
    named: Named
    size: int = 0

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong with the refs of requests. Raises `GitError` when an object is missing."""
        for ref in self.desk.left_out:
            if ref.startswith(REQUESTS):
                yield Finding("a record cannot be fetched: Git's checks refuse what it points to", _LOOK, ref=ref)
        prefix = remotes.tracking(self.desk.remote, REQUESTS)
        for name in self.desk.clone.names(prefix):
            self.size += 1
            yield from self._invented(name, name.removeprefix(prefix))
        yield from self._missed()

    def _invented(self, name: str, request: str) -> Iterator[Finding]:
        """Yield a record that nobody's request began, unless CI has rejected it or somebody closed it."""
        ref, tip = REQUESTS + visible(request), self.desk.clone.ref(name)
        if tip is None:
            yield Finding("a record is none: the ref does not point to a commit", _LOOK, ref=ref)
            return
        if request in self.named.ended or request in self.named.gone:
            return
        why = self._odd(request, tip)
        if why is not None:
            what = f"a record is none that somebody's request began: {why}"
            yield Finding(what, _LOOK, ref=ref, committer=commits.committer(self.desk.clone, tip))

    def _odd(self, request: str, tip: str) -> str | None:
        if not is_id(request):
            return "its name is no request's id"
        record = Record(request, tip, self.desk.clone)
        try:
            record.files()
            asked.check(record, self.desk.landed.root, self.named.asked.get(request))
        except RejectedError as error:
            return error.message
        return None

    def _missed(self) -> Iterator[Finding]:
        """Yield what this clone has seen and the remote has no more."""
        for request, commit in sorted(seen_records.seen(self.desk).items()):
            tip, ref = self.desk.tip(REQUESTS + request), REQUESTS + request
            if request in self.named.gone:
                continue
            right = f"or, if it is right as it is: git update-ref -d {seen_records.prefix(self.desk)}{request}"
            todo = f"{self.named.back(request)} ({right})"
            if tip is None:
                what = (
                    f"a record is gone: this clone has seen it up to its step {commit[:12]}, and no entry of the log "
                    "names it; Git does not say who deleted it"
                )
                yield Finding(what, todo, ref=ref)
            elif (why := self._cut(commit, tip)) is not None:
                what = f"a record was cut or exchanged: this clone has seen its step {commit[:12]}, {why}"
                yield Finding(what, todo, ref=ref, committer=commits.committer(self.desk.clone, tip))

    def _cut(self, commit: str, tip: str) -> str | None:
        if not self.desk.clone.is_ancestor(commit, tip):
            return "which is not in it any more"
        try:
            return None if growth.grew(self.desk.clone, commit, tip) else "and not all of that is in it any more"
        except (RejectedError, GitError) as error:
            return f"and what came after cannot be read: {error.message}"
