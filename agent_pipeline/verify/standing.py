"""Steps about what has happened meanwhile, by the shared log."""

from __future__ import annotations

from agent_pipeline.attestation import statements
from agent_pipeline.documents import closure
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.errors import RejectedError
from agent_pipeline.verify.case import Case
from agent_pipeline.verify.steps import require


def log(case: Case) -> str:
    """The shared log is an unbroken, signed chain, and says nothing that this version cannot judge.

    Threat: entries dropped, forged or reordered to hide that something was merged, rejected or stopped.
    """
    if "log" in case.errors:
        require(None, case.errors["log"])
    revoked = [entry for entry in case.log if entry.event == "revoked"]
    require(not revoked, "the log revokes something, and this version cannot judge by revocations: use a newer one")
    return f"{len(case.log)} entries, chain and signatures hold"


def open_(case: Case) -> str:
    """Nothing of this request was merged yet, and it was not rejected, stopped or closed.

    Threat: the same proposal again, after it was merged, reverted, rejected or taken back.
    """
    about = [entry for entry in case.log if entry.request in (case.request_id, None)]
    for entry in about:
        require(
            entry.event not in ("merged", "stopped", "closed"),
            f"the request was {entry.event} by entry {entry.index} of the log",
        )
    decided = [entry for entry in about if entry.event in ("approved", "rejected") and _is_it(case, entry)]
    require(
        not decided or decided[-1].event == "approved",
        f"this proposal was rejected by entry {decided[-1].index} of the log" if decided else "",
    )
    require(not _closed_by_requester(case), f"{case.request.requester}, who asked for it, closed the request")
    return "not merged, rejected, stopped or closed before"


def _is_it(case: Case, entry: LogEntry) -> bool:
    return entry.statement == case.identity


def _closed_by_requester(case: Case) -> bool:
    """Return whether one of the closures holds. One that does not changes nothing: anybody could have put it there."""
    for data in case.inputs.closures:
        try:
            signed = statements.read(data, case.inputs.root, closure.PREDICATE_TYPE, "requester")
            said = closure.Closure.from_dict(signed.statement.predicate)
        except RejectedError:
            continue
        if said.request == case.request_id and signed.person.name == said.by == case.request.requester:
            return True
    return False
