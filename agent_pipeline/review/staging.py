"""Staging: CI signs what it found, makes the branch `agent/<id>`, and logs the admission - all of it or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agent_pipeline import clock
from agent_pipeline import config as configuration
from agent_pipeline.audit import cord, entries, high_water
from agent_pipeline.documents import levels, strict
from agent_pipeline.documents.replay_result import ReplayResult
from agent_pipeline.documents.statement import Statement
from agent_pipeline.documents.summary import VERIFIER_ID, Summary
from agent_pipeline.documents.test_result import ReplayTest
from agent_pipeline.documents.verification import FAILED, PASSED, UNKNOWN, Check, Verification, verdict
from agent_pipeline.errors import CheckError, SchemaError, StaleError, UnavailableError
from agent_pipeline.policy import digest
from agent_pipeline.repository import commits, landed, records, remotes
from agent_pipeline.repository.dossier import (
    REPLAY_REPORT,
    SUMMARY,
    TEST_RESULT,
    VERIFICATION_REPORT,
    Dossier,
    attestation_path,
    report_path,
)
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.refs import RefUpdate
from agent_pipeline.review import messages
from agent_pipeline.signing.hand import Hand
from agent_pipeline.verify.proofs import of_replay


@dataclass(frozen=True, slots=True)
class Found:
    """What CI found about a proposal: the verification, and the replay when there was one."""

    verification: Verification
    replay: ReplayResult | None

    @property
    def checks(self) -> tuple[Check, ...]:
        """All checks, in order."""
        return self.verification.checks + (self.replay.checks if self.replay is not None else ()) + self._whole()

    def _whole(self) -> tuple[Check, ...]:
        """Say that a replay is not one when it lacks what makes it one: nothing would have been tried on the change."""
        if self.replay is None or verdict(self.replay.checks) != PASSED or "replayed" in of_replay(self.replay):
            return ()
        return (Check("replay: whole", UNKNOWN, "these results lack the checks of a replay: run `ci replay` again"),)

    @property
    def proofs(self) -> tuple[str, ...]:
        """What follows from it: nothing unless all of it passed."""
        if self.verdict != PASSED or self.replay is None:
            return ()
        return "signed", *of_replay(self.replay)

    def require_passed(self, name: str) -> None:
        """Raise `CheckError` for a no, `UnavailableError` when it could not be told."""
        said = "; ".join(f"{check.name}: {check.reason}" for check in self.checks if check.outcome in (FAILED, UNKNOWN))
        if self.verdict == FAILED:
            raise CheckError(f"{name} does not pass: {said}", hint=f"`agent-pipeline show {name}`; ask again")
        if self.verdict != PASSED:
            raise UnavailableError(f"{name} could not be decided: {said}", hint="mend what is missing, then `ci run`")

    @property
    def verdict(self) -> str:
        """Passed, failed or unknown, over all checks."""
        return verdict(self.checks)


def branch_of(request: str) -> str:
    """Return the staged branch's full name."""
    return f"refs/heads/agent/{request}"


def check_room(desk: Desk, dossier: Dossier) -> None:
    """Find out before a replay whether what comes of it can be published: anyone who may push can stand in its way.

    Raises `SchemaError` for a record that cannot take CI's files, `StaleError` for a branch where ours would lie.
    """
    taken = {f"{dossier.number}/attestations", f"{dossier.number}/reports"} & set(dossier.record.files())
    if taken:
        raise SchemaError(f"the record of {dossier.record.id} has a file where a folder belongs: {min(taken)}")
    branch = branch_of(dossier.record.id)
    above = [ref for ref in (branch.rpartition("/")[0],) if desk.tip(ref) is not None]
    below = desk.clone.refs(remotes.tracking(desk.remote, f"{branch}/"))
    if above or below:
        raise StaleError(
            f"{branch} cannot be made: a branch is in its way, {above[0] if above else f'{branch}/...'}",
            hint="delete that branch; protect `agent` and `agent/*` on the forge, so that only CI may push there",
        )


def test_result_statement(desk: Desk, dossier: Dossier, result: ReplayResult) -> Statement:
    """Return CI's statement about the replay, in in-toto's test-result form."""
    return ReplayTest(result, digest(desk.landed.policy_bytes)).to_statement(strict.sha256(dossier.manifest))


def summary_statement(
    desk: Desk, dossier: Dossier, found: Found, inputs: tuple[bytes, ...], now: datetime
) -> Statement:
    """Return CI's signed summary of what it verified, naming every envelope it was decided on."""
    summary = Summary(
        verifier=VERIFIER_ID,
        version=configuration.VERSION,
        time=clock.rfc3339(now),
        repository=desk.landed.root.repository,
        target=dossier.proposal.target,
        policy=digest(desk.landed.policy_bytes),
        statement=dossier.statement,
        inputs=tuple(strict.sha256(data) for data in inputs),
        passed=found.verdict == PASSED,
        levels=tuple(levels.level(proof) for proof in found.proofs),
        base=dossier.proposal.base,
        tree=dossier.proposal.tree,
        checks=found.checks,
    )
    return summary.to_statement(strict.sha256(dossier.manifest))


def stage(desk: Desk, dossier: Dossier, found: Found, hand: Hand, now: datetime) -> None:
    """Sign, and publish record, branch and log in one transaction. A failed proposal gets no branch, but is logged.

    Raises `StaleError` when something moved meanwhile; nothing is half-written then.
    """
    landed.check_in_force(desk)
    log = high_water.open_log(desk)  # it may have been fetched again since the verification
    cord.check(desk, log)  # what was judged while the cord was pulled says nothing of the proposal
    reports = {report_path(dossier.number, VERIFICATION_REPORT): found.verification.to_json()}
    files: dict[str, bytes] = {}
    inputs: tuple[bytes, ...] = (dossier.request_envelope, dossier.provenance_envelope)
    if found.replay is not None:
        tested = hand.signer.statement(test_result_statement(desk, dossier, found.replay)).to_json()
        files[attestation_path(dossier.number, TEST_RESULT, tested)] = tested
        reports[report_path(dossier.number, REPLAY_REPORT)] = found.replay.to_json()
        inputs += (tested,)
    summary = hand.signer.statement(summary_statement(desk, dossier, found, inputs, now)).to_json()
    files[attestation_path(dossier.number, SUMMARY, summary)] = summary
    held = dossier.record.files()  # reports are for people: one that somebody put there first stops nothing
    files |= {path: data for path, data in reports.items() if path not in held}
    event = "rejected" if found.verdict == FAILED else "admitted"
    said = entries.about(dossier, event, (*inputs, summary))
    updates = [
        RefUpdate(
            records.REQUESTS + dossier.record.id,
            dossier.record.tip,
            records.extend(desk.clone, dossier.record, dossier.record.id, files),
        ),
    ]
    if event == "admitted":
        branch = branch_of(dossier.record.id)
        updates.append(RefUpdate(branch, desk.tip(branch), _staged_commit(desk, dossier, hand, now)))
    entries.publish(desk, updates, entries.append(desk, log, said, hand.signer.statement, now))


def _staged_commit(desk: Desk, dossier: Dossier, hand: Hand, now: datetime) -> str:
    draft = commits.draft(
        desk.clone,
        dossier.proposal.tree,
        [dossier.proposal.base],
        messages.staged(dossier.request, dossier.name, dossier.statement),
        hand.name,
        hand.email,
        now,
    )
    return commits.write(desk.clone, draft, hand.signer.commit(draft))
