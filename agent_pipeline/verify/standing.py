"""Steps about what has happened meanwhile, by the shared log."""

from __future__ import annotations

from collections.abc import Iterable

from agent_pipeline.attestation import statements
from agent_pipeline.attestation.log_entries import standing_rejections, stopped_by
from agent_pipeline.documents import closure
from agent_pipeline.documents.closure import Closure
from agent_pipeline.documents.request import Request
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.documents.words import counted
from agent_pipeline.errors import RejectedError
from agent_pipeline.verify.case import Case
from agent_pipeline.verify.steps import require


def log(case: Case) -> str:
    """What the log says of this request is all that it says, each entry signed by who could say so at its place.

    Threat: entries dropped, forged or reordered to hide that something was merged, rejected or stopped. (That the log
    continues what was seen of it was checked when it was read.)
    """
    if "log" in case.errors:
        require(None, case.errors["log"])
    size = case.checked_log.size
    if not size:
        return "the log is empty"
    return f"{counted(len(case.log), 'entry', 'entries')} about it, and no more, by the proof of entry {size - 1}"


def open_(case: Case) -> str:
    """Nothing of this request was merged yet, it was not rejected or closed, and nobody has stopped everything.

    Threat: the same proposal again, after it was merged, reverted, rejected or taken back; a rejection that another
    person's approval, or an old one logged again, is to undo; one that goes on while the stop cord is pulled.
    """
    stopped = stopped_by(case.checked_log.signed)
    why = f"{stopped.person} stopped everything by entry {stopped.entry.index} of the log" if stopped else ""
    require(stopped is None, why)
    about = [entry for entry in case.log if entry.request == case.request_id]
    for entry in about:
        require(
            entry.event not in ("merged", "closed"), f"the request was {entry.event} by entry {entry.index} of the log"
        )
    rejected = standing_rejections([entry for entry in about if entry.statement == case.identity])
    require(not rejected, f"this proposal was rejected by entry {rejected[0].index} of the log" if rejected else "")
    closed = holding_closures(case.inputs.closures, case.request, case.inputs.root)
    require(not closed, f"{closed[0].person.name} closed the request" if closed else "")
    return "not merged, rejected, stopped or closed before"


def holding_closures(closures: Iterable[bytes], request: Request, root: TrustRoot) -> tuple[statements.Signed, ...]:
    """Return the closures of `request` that hold: by who asked for it, or by somebody who may merge.

    One that does not hold changes nothing: anybody could have put it there.
    """
    found = []
    for data in closures:
        try:
            signed = statements.read(data, root, closure.PREDICATE_TYPE, "requester", "merger")
            said = Closure.from_statement(signed.statement)
        except RejectedError:
            continue
        may = signed.person.name == request.requester or "merger" in signed.person.roles
        if may and said.by == signed.person.name and said.request == request.id:
            found.append(signed)
    return tuple(found)
