"""Who signed what for one very change, and what CI saw of it: what people are shown, and what a merge names.

Only what holds is counted, as in the decision itself. Anyone who may push can put envelopes and reports into a record;
a genuine signature under another change is no signature under this one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from agent_pipeline.attestation import statements
from agent_pipeline.attestation.statements import Signed
from agent_pipeline.documents import levels, strict
from agent_pipeline.documents import summary as summaries
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.replay_result import ReplayResult
from agent_pipeline.documents.root import Person
from agent_pipeline.documents.summary import MERGER_ID, Summary
from agent_pipeline.errors import RejectedError, SignatureError
from agent_pipeline.frozen import frozen
from agent_pipeline.verify import evidence
from agent_pipeline.verify.case import Case, read
from agent_pipeline.verify.inputs import LandingInputs
from agent_pipeline.verify.landing import gather, words
from agent_pipeline.verify.signers import requester_of, runner_of
from agent_pipeline.verify.steps import Skip

T = TypeVar("T")


@frozen
class Vouched:
    """`signatures` are (what, who) in the order of the pipeline, `envelopes` the SHA-256 of CI's and the reviewers'.

    `replay` is the newest one that CI signed and logged, however it ended; `proofs` are those that a merge claims,
    under the policy whose SHA-256 is `policy`.
    """

    signatures: tuple[tuple[str, str], ...]
    envelopes: frozenset[str]
    replay: ReplayResult | None
    proofs: tuple[str, ...] = ()
    policy: str | None = None

    @property
    def people(self) -> tuple[str, ...]:
        """The distinct people who signed, sorted."""
        return tuple(sorted({who for _, who in self.signatures}))


def so_far(landing: LandingInputs) -> Vouched:
    """Return what holds for a proposal that is not merged."""
    case = read(landing.inputs)
    this = gather(case, landing)
    held: list[tuple[str, evidence.Held]] = [("test-result", test) for test in this.tests]
    held += [("summary", this.summary)] if this.summary is not None else []
    held += [("approval", review) for review in (this.approvals or {}).values()]
    signatures = (*_asked(case), *((what, one.person.name) for what, one in held))
    return Vouched(signatures, frozenset(one.envelope for _, one in held), _newest(case, this.beside))


def when_merged(landing: LandingInputs, entry: LogEntry) -> Vouched:
    """Return what the merger signed and logged by `entry`, whatever rules are in force by now.

    Raises `SignatureError` when the record holds another proposal than the one that was merged, or no such summary,
    `UnavailableError` for a level in it that nobody here knows.
    """
    case = read(landing.inputs)
    if case.identity != entry.statement:
        raise SignatureError(
            f"the record holds another proposal {landing.inputs.request}.{landing.inputs.number} than was merged",
            hint="somebody rewrote the record; the merge commit says what landed",
        )
    who, summary = _merge_summary(case, landing, entry)
    named, beside = set(summary.inputs), evidence.read(case, landing)
    tests = [("test-result", test) for test in _quietly(beside.replays)]
    sums = [("summary", one) for one in beside.summaries]
    reviews = [("approval", one) for one in beside.reviews]
    held: list[tuple[str, evidence.Held]] = [one for one in (*tests, *sums, *reviews) if one[1].envelope in named]
    signatures = (*_asked(case), *((what, one.person.name) for what, one in held), ("merge", who.name))
    return Vouched(
        signatures,
        frozenset(one.envelope for _, one in held),
        next((test.result for _, test in tests if test.envelope in named), None),
        tuple(levels.proof(level) for level in summary.levels),
        summary.policy,
    )


def check_claims(case: Case, landing: LandingInputs, entry: LogEntry, merged: Vouched) -> None:
    """Raise `SignatureError` unless a merge claims exactly what the envelopes prove that the log names.

    `landing` is what was decided on: the rules of the merge's base, the time and the log just before `entry`. Who came
    later adds nothing to it, and takes nothing from it.
    """
    policy = case.sha256(case.inputs.policy_bytes)
    if merged.policy != policy:
        raise SignatureError(f"the merger's summary says policy {str(merged.policy)[:12]}; in force was {policy[:12]}")
    named = {*entry.envelopes, *(digest for one in case.log for digest in one.envelopes)}
    kept = tuple(data for data in landing.attestations if case.sha256(data) in named)
    proven = words(gather(case, replace(landing, attestations=kept)))
    if merged.proofs != proven:
        claimed = " · ".join(merged.proofs) or "nothing"
        raise SignatureError(f"the merger's summary claims {claimed}; its envelopes prove {' · '.join(proven)}")


def _merge_summary(case: Case, landing: LandingInputs, entry: LogEntry) -> tuple[Person, Summary]:
    for data in landing.attestations:
        if strict.sha256(data) in entry.envelopes:
            try:
                signed = statements.read(data, case.inputs.root, summaries.PREDICATE_TYPE, "merger", at=entry.index)
                said = Summary.from_statement(signed.statement)
            except RejectedError:
                continue
            if said.verifier == MERGER_ID:
                _check_said(case, entry, signed, said)
                return signed.person, said
    raise SignatureError(
        f"the summary that entry {entry.index} of the log names is not in the record any more",
        hint="somebody rewrote the record; the merge commit and refs/attestations/trees say what landed",
    )


def _check_said(case: Case, entry: LogEntry, signed: Signed, said: Summary) -> None:
    """Raise `SignatureError` unless a merger's summary is about this very merge, and rests on what `entry` names.

    Which policy was in force then, and what these envelopes prove under it, is the caller's to ask.
    """
    about = case.proposal
    wanted = {
        "manifest": (signed.statement.sha256, case.sha256(case.inputs.manifest)),
        "result": (said.passed, True),
        "repository": (said.repository, case.inputs.root.repository),
        "target": (said.target, about.target),
        "proposal": (said.statement, case.identity),
        "change": ((said.base, said.tree, said.merged_on), (about.base, about.tree, about.base)),
        "envelopes": ({*said.inputs}, {*_basis(case), *entry.envelopes} - {signed.envelope}),
    }
    other = [name for name, (got, want) in wanted.items() if got != want]
    if other:
        raise SignatureError(
            f"the merger's summary that entry {entry.index} of the log names is about another {' and '.join(other)}",
            hint=f"ask {signed.person.name}, who signed it",
        )


def _basis(case: Case) -> tuple[str, str]:
    return case.sha256(case.inputs.request_envelope), case.sha256(case.inputs.provenance_envelope)


def _asked(case: Case) -> tuple[tuple[str, str], ...]:
    """Return the signatures under request and provenance that hold."""
    found = []
    for what, who in (("request", requester_of), ("provenance", runner_of)):
        try:
            found.append((what, who(case).name))
        except (RejectedError, Skip):
            continue
    return tuple(found)


def _newest(case: Case, beside: evidence.Evidence) -> ReplayResult | None:
    """Return the replay that the newest entry about this very proposal names."""
    tests = {test.envelope: test.result for test in _quietly(beside.replays)}
    for entry in reversed(_quietly(lambda: case.log)):
        if entry.event in ("admitted", "rejected") and entry.statement == case.identity:
            return next((tests[name] for name in entry.envelopes if name in tests), None)
    return None


def _quietly(look: Callable[[], tuple[T, ...]]) -> tuple[T, ...]:
    """Return what is found, nothing when the documents cannot be read: steps of the verifier say so."""
    try:
        return look()
    except (RejectedError, Skip):
        return ()
