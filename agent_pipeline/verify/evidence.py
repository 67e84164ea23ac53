"""CI's and the reviewers' envelopes beside a proposal: which of them hold, and what they say.

An envelope that does not hold changes nothing, whoever put it there: removing or adding bad ones never turns a no into
a yes. Only rejections count against, and only when a reviewer signed them.
"""

from __future__ import annotations

from agent_pipeline.attestation import statements
from agent_pipeline.attestation.statements import Signed
from agent_pipeline.documents import approval, replay_result, summary
from agent_pipeline.documents.approval import Approval
from agent_pipeline.documents.replay_result import ReplayResult
from agent_pipeline.documents.root import Person
from agent_pipeline.documents.summary import Summary
from agent_pipeline.documents.test_result import ReplayTest
from agent_pipeline.documents.verification import PASSED, verdict
from agent_pipeline.errors import RejectedError
from agent_pipeline.frozen import frozen
from agent_pipeline.verify.case import Case
from agent_pipeline.verify.inputs import LandingInputs


@frozen
class Held:
    """A document that holds, who signed it, and the SHA-256 of its envelope."""

    person: Person
    envelope: str


@frozen
class HeldTest(Held):
    """A replay's result, and the digest of the policy that it was run under."""

    result: ReplayResult
    policy: str


@frozen
class HeldSummary(Held):
    """A summary of CI's verification."""

    summary: Summary


@frozen
class HeldApproval(Held):
    """A reviewer's decision."""

    approval: Approval


@frozen
class Evidence:
    """What holds beside one proposal: signed in the right role where the log has it, about this manifest.

    Readable, and read once. Whether it is about this statement, tree and policy is asked by the methods, whether it
    counts by `reviews`.
    """

    case: Case
    tests: tuple[HeldTest, ...]
    summaries: tuple[HeldSummary, ...]
    reviews: tuple[HeldApproval, ...]
    rewritten: int = 0  # how many more lie there that are not in their one form, and so count nothing

    def replays(self) -> tuple[HeldTest, ...]:
        """Return CI's replays of this statement and tree, however they ended and whatever they were run under."""
        case = self.case
        wanted = (case.inputs.request, case.inputs.number, case.identity, case.proposal.tree)
        return tuple(
            test
            for test in self.tests
            if (test.result.request, test.result.number, test.result.statement, test.result.tree) == wanted
        )

    def test_results(self) -> tuple[HeldTest, ...]:
        """Return CI's replays of this statement, tree and locked image, under the policy in force, that passed."""
        case = self.case
        locked = case.inputs.images.images.get(case.policy.sandbox.image)
        return tuple(
            test
            for test in self.replays()
            if case.request_id == case.inputs.request
            and locked is not None
            and test.result.image == locked.identity
            and test.result.backend in case.policy.sandbox.backends
            and test.policy == case.sha256(case.inputs.policy_bytes)
            and verdict(test.result.checks) == PASSED
        )

    def admissions(self) -> tuple[HeldSummary, ...]:
        """Return CI's summaries that admit this very change under the policy in force."""
        case = self.case
        wanted = (
            True,
            case.inputs.root.repository,
            case.proposal.target,
            case.sha256(case.inputs.policy_bytes),
            case.identity,
            case.proposal.base,
            case.proposal.tree,
        )
        basis = {case.sha256(case.inputs.request_envelope), case.sha256(case.inputs.provenance_envelope)}
        return tuple(
            held
            for held in self.summaries
            if (
                held.summary.passed,
                held.summary.repository,
                held.summary.target,
                held.summary.policy,
                held.summary.statement,
                held.summary.base,
                held.summary.tree,
            )
            == wanted
            and basis <= set(held.summary.inputs)
        )


def read(case: Case, landing: LandingInputs) -> Evidence:
    """Read every envelope beside the proposal, each once, in an order that nobody but their bytes decides.

    One that is not written in the one form is none: it would be an old signature under a new digest. The provenance
    lies among them, and the case has read it.
    """
    manifest = case.sha256(case.inputs.manifest)
    known = {case.inputs.provenance_envelope} if "provenance" in case.found else set()
    found: list[Held] = []
    rewritten = 0
    for data in sorted(set(landing.attestations) - known):
        try:
            signed = _opened(case, data)
            if signed is None:
                rewritten += 1
            elif signed.statement.sha256 == manifest and (held := _held(signed)) is not None:
                found.append(held)
        except RejectedError:
            continue
    return Evidence(
        case,
        tuple(held for held in found if isinstance(held, HeldTest)),
        tuple(held for held in found if isinstance(held, HeldSummary)),
        tuple(held for held in found if isinstance(held, HeldApproval)),
        rewritten,
    )


def _opened(case: Case, data: bytes) -> Signed | None:
    """Return what somebody signed, None when it is not in the one form. Raises `RejectedError`."""
    envelope = statements.in_one_form(data, case.inputs.root)
    if envelope is None:
        return None
    return statements.believed(envelope, data, case.inputs.root, at=case.logged(data))


def _held(signed: Signed) -> Held | None:
    """Return what is said, once who signed it may say such a thing; None for what is none of CI's or a reviewer's."""
    match signed.statement.predicate_type:
        case replay_result.PREDICATE_TYPE:
            statements.require_role(signed.person, "ci")
            test = ReplayTest.from_statement(signed.statement)
            return HeldTest(signed.person, signed.envelope, test.result, test.policy)
        case summary.PREDICATE_TYPE:
            statements.require_role(signed.person, "ci")
            said = Summary.from_statement(signed.statement)
            return HeldSummary(signed.person, signed.envelope, said) if said.verifier == summary.VERIFIER_ID else None
        case approval.PREDICATE_TYPE:
            statements.require_role(signed.person, "reviewer")
            review = Approval.from_statement(signed.statement)
            own = review.reviewer == signed.person.name and not signed.person.bot
            return HeldApproval(signed.person, signed.envelope, review) if own else None
        case _:
            return None
