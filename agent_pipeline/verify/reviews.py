"""Which reviews count: by people, for exactly this change, in time, and not taken back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from agent_pipeline.documents import moments
from agent_pipeline.documents.approval import APPROVED, REJECTED
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.errors import RejectedError
from agent_pipeline.verify.case import Case
from agent_pipeline.verify.evidence import HeldApproval
from agent_pipeline.verify.run import SKEW
from agent_pipeline.verify.signers import requester_of, runner_of
from agent_pipeline.verify.steps import equal, require

UNLOGGED: Final = "taken back by now, which CI has yet to put into the log"


def counting(case: Case, held: tuple[HeldApproval, ...]) -> tuple[dict[str, HeldApproval], dict[str, str]]:
    """Return the approvals that count, one for each person, and why the other people's do not.

    The threats are those of the step "reviews".
    """
    count: dict[str, HeldApproval] = {}
    why_not: dict[str, str] = {}
    for review in held:
        name = review.person.name
        if review.approval.decision != APPROVED or name in count:
            continue
        try:
            _check(case, review)
            require(not standing_rejection(case, held, name), f"{name} rejected this proposal")
        except RejectedError as error:
            why_not[name] = error.message
        else:
            count[name] = review
    return count, {name: why for name, why in why_not.items() if name not in count}


def _check(case: Case, review: HeldApproval) -> None:
    said, name = review.approval, review.person.name
    require(name != case.request.requester, f"{name} asked for the change and cannot review it")
    require(name != requester_of(case).name, f"{name} signed the request and cannot review it")
    require(name != runner_of(case).name, f"{name} owns the runner and cannot review what it made")
    for what, value, wanted in (
        ("repository", said.repository, case.inputs.root.repository),
        ("target", said.target, case.proposal.target),
        ("base", said.base, case.proposal.base),
        ("tree", said.tree, case.proposal.tree),
        ("request", said.request, case.request_id),
        ("proposal", said.proposal, case.identity),
        ("policy", said.policy, case.sha256(case.inputs.policy_bytes)),
    ):
        equal(f"the {what}", the_approval=value, the_change=wanted)
    created, expires = moments.parse(said.created), moments.parse(said.expires)
    days = case.policy.landing.approval_days
    require(created <= case.inputs.now + SKEW, f"{name}'s approval is from the future")
    require(expires - created <= timedelta(days=days), f"{name}'s approval claims more than the policy's {days} days")
    require(case.inputs.now < expires, f"{name}'s approval expired at {said.expires}")


def standing_rejection(case: Case, held: tuple[HeldApproval, ...], name: str) -> str | None:
    """Return the reason of a rejection of this proposal by `name` that stands, or None.

    It stands until the log has, after it, an approval by the same person that holds and takes this very rejection back.
    Dates order nothing: an approval that is older, whenever it is logged, cannot name what was not there yet. A
    rejection that the log names stands when somebody took it out of the record, too.
    """
    mine = [review for review in held if review.person.name == name and review.approval.proposal == case.identity]
    ended = _taken_back(case.log, mine)
    unlogged = {rejection for rejection, at in ended.items() if at < 0}
    for review in mine:
        logged = [entry.index for entry in case.log if entry.event == REJECTED and review.envelope in entry.envelopes]
        if review.approval.decision == REJECTED and max(logged, default=-1) >= ended.get(review.envelope, -1):
            return (review.approval.reason or "no reason given") + _yet((review.envelope,), unlogged)
    about = [one for one in case.log if one.event == REJECTED and one.statement == case.identity]
    for entry in (one for one in about if one.reviewer == name):
        if not entry.envelopes or any(entry.index >= ended.get(one, -1) for one in entry.envelopes):
            said = f"entry {entry.index} of the log, {entry.detail or 'no reason given'}"
            return said + _yet(entry.envelopes, unlogged)
    return None


def _taken_back(log: tuple[LogEntry, ...], mine: list[HeldApproval]) -> dict[str, int]:
    """Return the rejections that one person's approvals take back, by envelope, with where the log has the approval.

    An approval counts from the first entry that names it: one that is logged again says nothing new.
    """
    ended: dict[str, int] = {}
    for review in mine:
        at = min((one.index for one in log if one.event == APPROVED and review.envelope in one.envelopes), default=-1)
        for rejection in review.approval.takes_back or ():
            ended[rejection] = max(at, ended.get(rejection, -1))
    return ended


def _yet(rejections: Iterable[str], unlogged: set[str]) -> str:
    return f" ({UNLOGGED})" if unlogged.issuperset(rejections) else ""


def rejecting(case: Case, held: tuple[HeldApproval, ...]) -> tuple[str, ...]:
    """Return everybody who ever rejected this proposal, by the record or by the log."""
    here = {one.person.name for one in held if one.approval.decision == REJECTED}
    logged = {one.reviewer for one in case.log if one.event == REJECTED and one.statement == case.identity}
    return tuple(sorted(here | {name for name in logged if name is not None}))
