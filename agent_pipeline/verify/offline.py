"""What can be said of a proposal that came as a bundle, with nothing at hand but a pinned trust root.

The same steps as everywhere, on what the bundle brought; after them steps about its merge, and about what nobody can
tell offline: those are never passed, they are skipped with the reason. All is said as of the bundle's newest log entry.
What was merged is decided as it was just before its entry, by the rules that its base has.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agent_pipeline.attestation import commit_signer
from agent_pipeline.attestation.log_entries import standing_rejections
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.verification import PASSED, SKIPPED, Check, Verification, verdict
from agent_pipeline.errors import RejectedError
from agent_pipeline.frozen import frozen
from agent_pipeline.verify import landing as landings
from agent_pipeline.verify import proofs, steps, vouched
from agent_pipeline.verify.case import Case, read
from agent_pipeline.verify.inputs import Inputs, LandingInputs
from agent_pipeline.verify.landing import LandingCase
from agent_pipeline.verify.standing import holding_closures
from agent_pipeline.verify.steps import Skip, Step, require
from agent_pipeline.verify.verifier import STEPS as VERIFIER_STEPS
from agent_pipeline.verify.vouched import Vouched


@frozen
class Carried:
    """What a bundle brought: `landing` as for a decision, with `before` where it was merged by the entry `merged`.

    `merge` is the merge commit: its bytes without the signature, and the armored signature; None without one. `staged`
    is the id of the staged commit.
    """

    landing: LandingInputs
    merged: LogEntry | None = None
    merge: tuple[bytes, str] | None = None
    staged: str | None = None


@frozen
class OfflineCase:
    """What was carried, what holds of it, and how far its log goes."""

    carried: Carried
    this: LandingCase

    @property
    def case(self) -> Case:
        """The case."""
        return self.this.case

    @property
    def admitted(self) -> bool:
        """Whether the log says that CI admitted this very proposal."""
        return any(entry.event == "admitted" and entry.statement == self.case.identity for entry in self.case.log)

    @property
    def as_of(self) -> str:
        """How far the log goes, in words."""
        size = self.case.inputs.log.size
        return f"entry {size - 1} of the log" if size else "an empty log"


def merged_by(inputs: Inputs) -> LogEntry | None:
    """Return the entry of the log by which this very proposal was merged, None when none says so."""
    case = read(inputs)
    try:
        entries = case.log
    except Skip:
        return None
    about = (entry for entry in entries if (entry.event, entry.request) == ("merged", inputs.request))
    return next((entry for entry in about if entry.statement == case.identity), None)


def state(carried: Carried) -> str:
    """Return where the proposal stands: merged, closed, rejected, trial, staged or proposed."""
    if carried.merged is not None:
        return "merged"
    case = read(carried.landing.inputs)
    try:
        entries, request = case.log, case.request
    except Skip:
        return "proposed"
    if holding_closures(carried.landing.inputs.closures, request, carried.landing.inputs.root):
        return "closed"
    about = [entry for entry in entries if entry.request == request.id]
    mine = [entry for entry in about if entry.statement == case.identity]
    events = {entry.event for entry in mine}
    words = [("closed", any(entry.event == "closed" for entry in about)), ("rejected", bool(standing_rejections(mine)))]
    words += [("trial", request.trial), ("staged", "admitted" in events)]
    return next((word for word, holds in words if holds), "proposed")


def _landing(name: str) -> Step[LandingCase]:
    return dict(landings.STEPS)[name]


def target(off: OfflineCase) -> str:
    """What was merged was put on the very commit that it was made for. Skipped before: nobody can tell offline.

    Threat: approval and tests of one state used for another.
    """
    if off.carried.merged is None:
        raise Skip(f"offline nobody can tell whether {off.case.proposal.target} is still at the base")
    _landing("target unmoved")(off.this)
    return f"{off.case.proposal.target} was at {off.case.proposal.base[:12]} when it was merged"


def admitted(off: OfflineCase) -> str:
    """Where the log says that CI admitted it, CI's signed summary is here. Skipped where it does not say so.

    Threat: a bundle from which what CI signed was taken out.
    """
    if not off.admitted:
        raise Skip(f"CI has not admitted it as of {off.as_of}")
    return _landing("admitted")(off.this)


def staged(off: OfflineCase) -> str:
    """What CI admitted, it staged: its signed commit of exactly this tree on exactly this base. Skipped before.

    Threat: commits smuggled in behind the merge's second parent; the same tree staged for somebody else's request.
    """
    if not off.admitted:
        raise Skip(f"CI has not staged it as of {off.as_of}")
    return _landing("staged")(off.this)


def _once_merged(off: OfflineCase, name: str) -> str:
    """Take a landing step that what was merged must pass, and what was not may not pass yet."""
    try:
        return _landing(name)(off.this)
    except RejectedError as error:
        if off.carried.merged is not None:
            raise
        raise Skip(f"not yet, as of {off.as_of}: {error.message}") from error


def proven(off: OfflineCase) -> str:
    """CI saw what the policy demands for a change of this kind. Skipped while that is still to come.

    Threat: a merge of something that nothing was tried on; a bundle from which a failed test was taken out.
    """
    return _once_merged(off, "proofs")


def rejections(off: OfflineCase) -> str:
    """No reviewer's rejection stands.

    Threat: a rejection overtaken by somebody else's approval, or taken out of the record that the bundle brings.
    """
    return _landing("rejections")(off.this)


def reviewed(off: OfflineCase) -> str:
    """As many people as the policy wants read exactly this change and approved it. Skipped while not yet.

    Threat: a merge that nobody but its requester read; approvals of another change, or of keys that nobody has.
    """
    return _once_merged(off, "reviews")


def persons(off: OfflineCase) -> str:
    """As many different people as the policy wants signed for this change. Skipped while not yet.

    Threat: a merge by one person with several keys or roles.
    """
    return _once_merged(off, "persons")


def rules(off: OfflineCase) -> str:
    """Somebody else than the bundle says that these were the protected branch's rules: CI. Skipped until it does.

    Threat: a bundle with rules of its maker's own, under which anything passes.
    """
    summary = off.this.summary
    if summary is None:
        raise Skip(
            "only the runner vouches for this policy: offline nobody can tell whether the protected branch has it"
        )
    return f"{summary.person.name} admitted it under this policy"


def merge(off: OfflineCase) -> str:
    """The merge commit is the merger's, of exactly this tree, on exactly this base and staged commit. Skipped before.

    Threat: a merge commit of another change passed off as this one's; one by somebody who may not merge.
    """
    entry, case = off.carried.merged, off.case
    if entry is None:
        raise Skip(f"not merged as of {off.as_of}")
    require(off.carried.merge is not None, "the log says that it was merged, and no signed merge commit is here")
    assert off.carried.merge is not None  # noqa: S101 - said above
    payload, armored = off.carried.merge
    owner = commit_signer.signer(payload, armored, case.inputs.root, "merger", at=entry.index)
    tree, parents = landings.commit_links(payload)
    require(tree == case.proposal.tree, f"the merged tree is {tree[:12]}, not {case.proposal.tree[:12]}")
    wanted = [case.proposal.base, off.carried.staged]
    require(parents == wanted, "the merge commit's two parents are not the base and the staged commit")
    lines = payload.partition(b"\n\n")[2].split(b"\n")
    for line in (
        f"Agent-Pipeline-Proposal: {case.proposal.name}",
        f"Agent-Pipeline-Statement: sha256:{case.identity}",
    ):
        require(line.encode() in lines, "the merge commit is that of another proposal")
    return f"merged by {owner.name}, entry {entry.index} of the log"


def merge_summary(off: OfflineCase) -> str:
    """The merger's signed summary is the one that the log names, and claims what its envelopes prove. Skipped before.

    Threat: a merge that its merger never signed; a record that was rewritten afterwards; a merger that claims more.
    """
    if off.carried.merged is None:
        raise Skip(f"not merged as of {off.as_of}")
    held = _vouched(off)
    vouched.check_claims(off.case, off.carried.landing, off.carried.merged, held)
    return f"signed by {held.signatures[-1][1]}: {' · '.join(held.proofs)}"


def later(off: OfflineCase) -> str:
    """Whatever was logged after the bundle was made is not in it: always skipped, nobody can tell offline.

    Threat: an old bundle of what was since rejected, reverted or revoked, or whose signers' keys were.
    """
    raise Skip(
        f"offline nobody can tell what came after {off.as_of} (a rejection, a merge, a revoked key) or after version "
        f"{off.case.inputs.root.version} of the trust root: ask the repository"
    )


STEPS: Final[tuple[tuple[str, Step[OfflineCase]], ...]] = (
    ("target at the base", target),
    ("admitted", admitted),
    ("staged", staged),
    ("proofs", proven),
    ("rejections", rejections),
    ("reviews", reviewed),
    ("persons", persons),
    ("rules", rules),
    ("merge", merge),
    ("merge summary", merge_summary),
    ("later", later),
)


# What the verifier takes from the protected branch, and a bundle only says: somebody who fetched it must vouch.
_RULES: Final = ("policy", "image", "trial")


def _as_carried(off: OfflineCase, check: Check) -> Check:
    """Say a verifier's step as far as it holds offline: no claim of the bundle's own is passed."""
    name = check.name.partition(" ")[2]
    if check.outcome != PASSED:
        return check
    if name in _RULES and off.this.summary is None:
        return Check(
            check.name, SKIPPED, f"as the bundle has it: {check.reason}; only its own rules say so (see `rules`)"
        )
    if name == "open":
        when = "before it was merged" if off.carried.merged is not None else f"as of {off.as_of}"
        return Check(check.name, PASSED, f"{check.reason}, {when}")
    return check


def decide(carried: Carried) -> Verification:
    """Decide about what a bundle brought. Never raises for what it says: every defect is a check that failed."""
    case = read(carried.landing.inputs)
    off = OfflineCase(carried, landings.gather(case, carried.landing))
    checks = tuple(_as_carried(off, check) for check in steps.run(VERIFIER_STEPS, case))
    checks += steps.run(STEPS, off, first=len(checks) + 1)
    found = verdict(checks)
    return Verification(
        version=1,
        request=carried.landing.inputs.request,
        proposal=f"{carried.landing.inputs.request}.{carried.landing.inputs.number}",
        statement=case.identity,
        verdict=found,
        checks=checks,
        proofs=_words(off) if found == PASSED else (),
    )


def _words(off: OfflineCase) -> tuple[str, ...]:
    if off.carried.merged is not None:
        return _vouched(off).proofs
    return landings.words(off.this) if off.admitted else proofs.words(off.case, PASSED)


def signatures(carried: Carried) -> Vouched:
    """Return who signed what, as far as it holds. Raises `RejectedError` when the merger's summary does not."""
    if carried.merged is None:
        return vouched.so_far(carried.landing)
    whole = replace(carried.landing, inputs=replace(carried.landing.inputs, before=None))
    return vouched.when_merged(whole, carried.merged)


def _vouched(off: OfflineCase) -> Vouched:
    return signatures(off.carried)
