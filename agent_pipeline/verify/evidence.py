"""CI's and the reviewers' envelopes beside a proposal: which of them hold, and what they say.

An envelope that does not hold changes nothing, whoever put it there: removing or adding bad ones never turns a no into
a yes. Only rejections count against, and only when a reviewer signed them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from agent_pipeline.attestation import statements
from agent_pipeline.documents import approval, replay_result, schema, strict, summary
from agent_pipeline.documents.approval import Approval
from agent_pipeline.documents.replay_result import ReplayResult
from agent_pipeline.documents.root import Person
from agent_pipeline.documents.statement import Statement
from agent_pipeline.documents.summary import Summary
from agent_pipeline.documents.verification import PASSED, verdict
from agent_pipeline.errors import RejectedError
from agent_pipeline.verify.case import Case
from agent_pipeline.verify.inputs import LandingInputs

D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class Held:
    """A document that holds, who signed it, and the SHA-256 of its envelope."""

    person: Person
    envelope: str


@dataclass(frozen=True, slots=True)
class HeldTest(Held):
    """A replay's result, and the digest of the policy that it was run under."""

    result: ReplayResult
    policy: str | None


@dataclass(frozen=True, slots=True)
class HeldSummary(Held):
    """A summary of CI's verification."""

    summary: Summary


@dataclass(frozen=True, slots=True)
class HeldApproval(Held):
    """A reviewer's decision."""

    approval: Approval


def _held(
    case: Case, landing: LandingInputs, predicate_type: str, role: str, read: Callable[[Statement], D]
) -> Iterator[tuple[statements.Signed, D]]:
    """Yield what holds: signed by somebody with `role` where the log has it, about this very manifest, readable."""
    manifest = strict.sha256(case.inputs.manifest)
    for data in sorted(set(landing.attestations)):
        try:
            signed = statements.read(data, case.inputs.root, predicate_type, role, at=case.logged(data))
            if signed.statement.sha256 == manifest:
                yield signed, read(signed.statement)
        except RejectedError:
            continue


def replays(case: Case, landing: LandingInputs) -> tuple[HeldTest, ...]:
    """Return CI's replays of this statement and tree, however they ended and whatever they were run under."""
    found = _held(case, landing, replay_result.PREDICATE_TYPE, "ci", _test_result)
    wanted = (case.inputs.request, case.inputs.number, case.identity, case.proposal.tree)
    return tuple(
        HeldTest(signed.person, signed.envelope, result, policy)
        for signed, (result, policy) in found
        if (result.request, result.number, result.statement, result.tree) == wanted
    )


def test_results(case: Case, landing: LandingInputs) -> tuple[HeldTest, ...]:
    """Return CI's replays of this statement, tree and locked image, under the policy in force, that passed."""
    locked = case.inputs.images.images.get(case.policy.sandbox.image)
    return tuple(
        test
        for test in replays(case, landing)
        if case.request_id == case.inputs.request
        and locked is not None
        and test.result.image == locked.identity
        and test.result.backend in case.policy.sandbox.backends
        and test.policy == strict.sha256(case.inputs.policy_bytes)
        and verdict(test.result.checks) == PASSED
    )


def _test_result(statement: Statement) -> tuple[ReplayResult, str | None]:
    """Return our replay result out of in-toto's form, which must say the same, and the policy it was run under."""
    schema.validate("test_result", statement.predicate)
    predicate = statement.predicate
    result = ReplayResult.from_dict(predicate["x-agent-pipeline"])
    configuration = {item["name"]: item["digest"].get("sha256") for item in predicate["configuration"]}
    passed = sorted(check.name for check in result.checks if check.outcome == PASSED)
    said = "PASSED" if verdict(result.checks) == PASSED else "FAILED"
    if (
        sorted(predicate["passedTests"]) != passed
        or predicate["result"] != said
        or configuration.get("sandbox-image") != result.image
    ):
        raise RejectedError("the test result contradicts itself")
    return result, configuration.get("policy")


def summaries_of(case: Case, landing: LandingInputs) -> tuple[HeldSummary, ...]:
    """Return CI's summaries of this manifest, whatever they say."""
    found = _held(case, landing, summary.PREDICATE_TYPE, "ci", Summary.from_statement)
    return tuple(
        HeldSummary(signed.person, signed.envelope, said)
        for signed, said in found
        if said.verifier == summary.VERIFIER_ID
    )


def summaries(case: Case, landing: LandingInputs) -> tuple[HeldSummary, ...]:
    """Return CI's summaries that admit this very change under the policy in force."""
    wanted = (
        True,
        case.inputs.root.repository,
        case.proposal.target,
        strict.sha256(case.inputs.policy_bytes),
        case.identity,
        case.proposal.base,
        case.proposal.tree,
    )
    basis = {strict.sha256(case.inputs.request_envelope), strict.sha256(case.inputs.provenance_envelope)}
    return tuple(
        held
        for held in summaries_of(case, landing)
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


def approvals(case: Case, landing: LandingInputs) -> tuple[HeldApproval, ...]:
    """Return the reviewers' decisions, for and against, signed by who they name. Which count is decided later."""
    found = _held(case, landing, approval.PREDICATE_TYPE, "reviewer", Approval.from_statement)
    return tuple(
        HeldApproval(signed.person, signed.envelope, said)
        for signed, said in found
        if said.reviewer == signed.person.name and not signed.person.bot
    )
