"""Whether a verified proposal may be merged now: everything again, and what CI and reviewers signed.

Numbers go on from the verifier's. As there, every step is taken, and a step's docstring names its threat.
"""

from __future__ import annotations

from typing import Final

from agent_pipeline.attestation import commit_signer
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.verification import PASSED, Check, Verification, verdict
from agent_pipeline.documents.words import counted
from agent_pipeline.errors import RejectedError
from agent_pipeline.frozen import frozen
from agent_pipeline.policy import rules
from agent_pipeline.verify import evidence, proofs, reviews, steps
from agent_pipeline.verify.case import Case, read
from agent_pipeline.verify.inputs import LandingInputs
from agent_pipeline.verify.signers import requester_of, runner_of
from agent_pipeline.verify.steps import Skip, require
from agent_pipeline.verify.verifier import STEPS as VERIFIER_STEPS


@frozen
class LandingCase:
    """A case, what the merge is decided on beside it, and which of CI's and the reviewers' envelopes count."""

    case: Case
    landing: LandingInputs
    beside: evidence.Evidence
    tests: tuple[evidence.HeldTest, ...] = ()
    summary: evidence.HeldSummary | None = None
    approvals: dict[str, evidence.HeldApproval] | None = None
    not_counted: dict[str, str] | None = None

    @property
    def proven(self) -> tuple[str, ...]:
        """The words that CI's replay proves."""
        return tuple(dict.fromkeys(word for test in self.tests for word in proofs.of_replay(test.result)))

    @property
    def people(self) -> frozenset[str]:
        """The distinct owners of all keys that signed for this change so far. Raises `SignatureError`."""
        signed: set[str] = {runner_of(self.case).name, requester_of(self.case).name}
        signed |= {test.person.name for test in self.tests} | set(self.approvals or ())
        return frozenset(signed | ({self.summary.person.name} if self.summary is not None else set()))


def gather(case: Case, landing: LandingInputs) -> LandingCase:
    """Return what holds. What cannot be told for want of readable documents is left out; steps say so."""
    beside = evidence.read(case, landing)
    try:
        summary = _admitting(case, beside.admissions())
        named = set(summary.summary.inputs) if summary is not None else set()
        tests = tuple(test for test in beside.test_results() if test.envelope in named)
        approvals, not_counted = reviews.counting(case, beside.reviews)
    except (Skip, RejectedError):
        return LandingCase(case, landing, beside)
    return LandingCase(case, landing, beside, tests, summary, approvals, not_counted)


def _admission(case: Case) -> LogEntry | None:
    """Return the newest admission of this proposal in the log, or None."""
    for entry in reversed(case.log):
        if entry.event == "admitted" and entry.statement == case.identity:
            return entry
    return None


def _admitting(case: Case, held: tuple[evidence.HeldSummary, ...]) -> evidence.HeldSummary | None:
    """Return the summary that the newest admission of this proposal in the log names, or None."""
    entry = _admission(case)
    named = entry.envelopes if entry is not None else ()
    return next((summary for summary in held if summary.envelope in named), None)


def rules_landed(this: LandingCase) -> str:
    """The rules are on the protected branch, and the run was made under them.

    Threat: a change landed by rules that nobody merged.
    """
    require(this.case.inputs.landed, "the rules have not landed on the protected branch: merge the set-up commit first")
    require(not this.case.request.trial, "a trial cannot land: ask again now that the rules have landed")
    return "the rules are on the protected branch"


def target_unmoved(this: LandingCase) -> str:
    """The target still is where the change was made, tested and read.

    Threat: approval and tests of one state used for another (time of check, time of use; the push holds a lease).
    """
    tip, base = this.landing.target_tip, this.case.proposal.base
    require(
        tip == base,
        f"{this.case.proposal.target} is {(tip or 'missing')[:12]}, the proposal was made on {base[:12]}: ask again",
    )
    return f"{this.case.proposal.target} is still {base[:12]}"


def admitted(this: LandingCase) -> str:
    """CI admitted this very proposal: a signed summary that the log names.

    Threat: a merge without CI, a summary of another change, one that was never logged or failed.
    """
    require(this.summary is not None, "no summary of CI that the log names admits this proposal: agent-pipeline ci run")
    assert this.summary is not None  # noqa: S101 - said above
    return f"admitted by {this.summary.person.name}"


def staged(this: LandingCase) -> str:
    """The staged branch is CI's signed commit of exactly the approved tree on exactly the base.

    Threat: a branch that moved after it was read; commits smuggled in behind the merge's second parent; the same tree
    staged for somebody else's request; a stolen key of CI with a date of the thief's choice. The commit's key is
    judged where the log has the admission.
    """
    require(this.landing.staged is not None, f"there is no signed commit on agent/{this.case.request_id}")
    assert this.landing.staged is not None  # noqa: S101 - said above
    (payload, armored), admission = this.landing.staged, _admission(this.case)
    index = admission.index if admission is not None else None
    owner = commit_signer.signer(payload, armored, this.case.inputs.root, "ci", at=index)
    tree, parents = commit_links(payload)
    require(tree == this.case.proposal.tree, f"the staged tree is {tree[:12]}, not {this.case.proposal.tree[:12]}")
    require(parents == [this.case.proposal.base], "the staged commit's only parent is not the base")
    line = f"Agent-Pipeline-Statement: sha256:{this.case.identity}".encode()
    require(line in payload.partition(b"\n\n")[2].split(b"\n"), "the staged commit is that of another proposal")
    return f"tree {tree[:12]} on {this.case.proposal.base[:12]}, signed by {owner.name}"


def commit_links(payload: bytes) -> tuple[str, list[str]]:
    """Return tree and parents of a commit object. Raises `RejectedError` unless it names exactly one tree."""
    header = payload.partition(b"\n\n")[0].split(b"\n")
    fields = [line.split(b" ", 1) for line in header if line and not line.startswith(b" ")]
    values = [(item[0], item[1].decode("ascii", "backslashreplace")) for item in fields if len(item) == 2]  # noqa: PLR2004 - name and value
    trees = [value for name, value in values if name == b"tree"]
    require(len(trees) == 1, "the commit does not name exactly one tree")
    return trees[0], [value for name, value in values if name == b"parent"]


def rejections(this: LandingCase) -> str:
    """No reviewer's rejection stands.

    Threat: a rejection overtaken by somebody else's approval, undone by an older one of the same person, or taken out
    of the record.
    """
    if this.approvals is None:
        raise Skip("not looked at: what the reviews are about could not be read")
    for name in reviews.rejecting(this.case, this.beside.reviews):
        standing = reviews.standing_rejection(this.case, this.beside.reviews, name)
        require(standing is None, f"{name} rejected it: {standing}")
    return "nobody's rejection stands"


def reviewed(this: LandingCase) -> str:
    """As many people as the policy wants read exactly this change and approved it.

    Threats: an approval of another tree, base, target, repository, request or policy; one that has expired; the
    requester, who runs the runner, or a bot as reviewer; one person counted twice; an approval that was taken back.
    """
    needed, got = this.case.policy.landing.reviewers, sorted(this.approvals or ())
    not_counted = list((this.not_counted or {}).values())
    if others := this.beside.rewritten:
        not_counted.append(f"{counted(others, 'envelope')} not in the one form that counts")
    require(
        len(got) >= needed,
        f"{len(got)} of {needed} reviews" + (f" ({'; '.join(not_counted)})" if not_counted else ""),
    )
    return f"approved by {', '.join(got)}" if got else "the policy asks for no review"


def proven(this: LandingCase) -> str:
    """CI saw what the policy demands for a change of this kind.

    Threat: a change that nothing was tried on.
    """
    needed = rules.proofs_needed(this.case.policy, this.case.request.kind)
    have = {proofs.SIGNED, *this.proven}
    missing = [word for word in needed if word not in have]
    require(not missing, f"a {this.case.request.kind} needs to be {' and '.join(missing)}")
    return f"{', '.join(needed)}, as the policy demands of a {this.case.request.kind}"


def persons(this: LandingCase) -> str:
    """As many different people as the policy wants signed for this change. Keys do not count, people do.

    Threat: one person with several keys or roles.
    """
    needed, people = this.case.policy.landing.persons, this.people
    require(len(people) >= needed, f"{proofs.persons(people)} of {needed}: {', '.join(sorted(people))}")
    return f"{proofs.persons(people)}: {', '.join(sorted(people))}"


def merger(this: LandingCase) -> str:
    """Who would sign the merge may merge.

    Threat: a merge and a log entry by a key in another role.
    """
    owner = this.case.inputs.root.owner(this.landing.merger)
    require(owner is not None, f"key {this.landing.merger[:8]} is nobody's in the trust root")
    assert owner is not None  # noqa: S101 - said above
    require("merger" in owner.roles, f"{owner.name} is no merger")
    return f"{owner.name} may merge"


STEPS: Final[tuple[tuple[str, steps.Step[LandingCase]], ...]] = (
    ("rules landed", rules_landed),
    ("target unmoved", target_unmoved),
    ("admitted", admitted),
    ("staged", staged),
    ("proofs", proven),
    ("rejections", rejections),
    ("reviews", reviewed),
    ("persons", persons),
    ("merger", merger),
)


def examine(landing: LandingInputs) -> tuple[LandingCase, tuple[Check, ...]]:
    """Return what holds of a whole proposal, all its attestations, and what the verifier's steps say of it."""
    case = read(landing.inputs)
    checks = steps.run(VERIFIER_STEPS, case)
    return gather(case, landing), checks


def decide(landing: LandingInputs) -> Verification:
    """Decide whether to merge. Never raises for what the inputs say: every defect is a check that failed."""
    this, checks = examine(landing)
    verified, case = verdict(checks) == PASSED, this.case
    checks += steps.run(STEPS, this, first=len(checks) + 1)
    return Verification(
        version=1,
        request=landing.inputs.request,
        proposal=f"{landing.inputs.request}.{landing.inputs.number}",
        statement=case.identity,
        verdict=verdict(checks),
        checks=checks,
        proofs=words(this) if verified else (),
    )


def words(this: LandingCase) -> tuple[str, ...]:
    """Return what is proven so far, whether or not it is enough."""
    needed, got = this.case.policy.landing.reviewers, len(this.approvals or ())
    review = (f"reviewed {got}/{needed}",) if needed or got else ()
    return (proofs.SIGNED, *this.proven, *review, proofs.persons(this.people))
