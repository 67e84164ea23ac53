"""Which reviews count: by people, for exactly this change, in time, and not taken back."""

from __future__ import annotations

from datetime import timedelta

from agent_pipeline.documents import moments
from agent_pipeline.documents.approval import APPROVED, REJECTED
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.errors import RejectedError
from agent_pipeline.verify.case import Case
from agent_pipeline.verify.evidence import HeldApproval
from agent_pipeline.verify.run import SKEW
from agent_pipeline.verify.signers import requester_of, runner_of
from agent_pipeline.verify.steps import equal, require


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

    It stands until the log has, after it, an approval by the same person that holds. Dates order nothing: an old
    approval that was never logged does not undo a rejection, nor does one that is logged again. A rejection that the
    log names stands when somebody took it out of the record, too.
    """
    mine = [review for review in held if review.person.name == name and review.approval.proposal == case.identity]
    approved = max((_index(case.log, one) for one in mine if one.approval.decision == APPROVED), default=-1)
    for review in mine:
        if review.approval.decision == REJECTED and not 0 <= _index(case.log, review) < approved:
            return review.approval.reason or "no reason given"
    about = [one for one in case.log if one.event == REJECTED and one.statement == case.identity]
    late = [one for one in about if one.reviewer == name and one.index > approved]
    return f"entry {late[0].index} of the log, {late[0].detail or 'no reason given'}" if late else None


def rejecting(case: Case, held: tuple[HeldApproval, ...]) -> tuple[str, ...]:
    """Return everybody who ever rejected this proposal, by the record or by the log."""
    here = {one.person.name for one in held if one.approval.decision == REJECTED}
    logged = {one.reviewer for one in case.log if one.event == REJECTED and one.statement == case.identity}
    return tuple(sorted(here | {name for name in logged if name is not None}))


def _index(log: tuple[LogEntry, ...], review: HeldApproval) -> int:
    """Return the index of the first entry that logged this review, -1 when none did."""
    event = review.approval.decision
    return min(
        (entry.index for entry in log if entry.event == event and review.envelope in entry.envelopes), default=-1
    )
