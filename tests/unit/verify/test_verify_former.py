"""What people signed outlives their leaving; what a thief signed does not: every key is judged where the log has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from support.logs import prove, standing
from support.trust import NOW, TEAM, Maker, public, root_of

from agent_pipeline.attestation import drafts
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.documents.verification import FAILED, PASSED, Verification
from agent_pipeline.errors import SignatureError
from agent_pipeline.verify import decide
from agent_pipeline.verify.inputs import LandingInputs

LATER = NOW + timedelta(days=365)
PEOPLE = {**TEAM, "ken": ("requester", "runner"), "robin": ("ci", "merger")}
ROOT = root_of(PEOPLE, bots=("robot", "robin"))
MAKER = Maker(root=ROOT)
ADMITTED = 2  # the index of the admission: two entries of others come before it


def before(maker: Maker = MAKER) -> list[bytes]:
    """Two entries about another request."""
    log: list[bytes] = []
    for _ in range(ADMITTED):
        log.append(Maker(root=maker.root, ci="robin").entry(log, "admitted", request="a" * 16, statement="1" * 64))
    return log


def landing(root: TrustRoot, *more: bytes, log: Sequence[bytes] | None = None) -> LandingInputs:
    """Everything about Ada's proposal, admitted by robot and approved by rita, judged by `root`."""
    inputs = MAKER.inputs()
    named = [inputs.request_envelope, inputs.provenance_envelope, MAKER.test_result(), MAKER.summary()]
    entries = before()
    entries.append(MAKER.entry(entries, "admitted", named))
    given = MAKER.landing()
    return replace(
        given,
        inputs=replace(
            inputs, root=root, log=prove(log if log is not None else [*entries, *more], inputs.request, root)
        ),
        merger=public("robin").keyid,
    )


def failed(decision: Verification) -> set[str]:
    return {check.name[3:] for check in decision.checks if check.outcome == FAILED}


def without(name: str, until: int) -> TrustRoot:
    return drafts.remove(ROOT, name, (), until=until, expires=LATER)


def stolen(name: str, since: int) -> TrustRoot:
    return drafts.revoke(ROOT, public(name).keyid, since=since, expires=LATER)


def test_it_lands_as_it_is() -> None:
    assert decide(landing(ROOT)).verdict == PASSED


def root_holder() -> TrustRoot:
    """Give somebody else the role root first, so that Ada can go."""
    return drafts.add(ROOT, "ken", None, ("root",), expires=LATER)


@pytest.mark.parametrize("name", ["ada", "robot"])
def test_what_was_admitted_lands_after_its_signers_left(name: str) -> None:
    root = drafts.remove(root_holder(), name, (), until=ADMITTED + 1, expires=LATER)
    decision = decide(landing(root))
    assert decision.verdict == PASSED, failed(decision)
    assert "3 persons" in decision.proofs


@pytest.mark.parametrize(
    ("name", "steps"),
    [("ada", {"runner", "requester"}), ("robot", {"admitted", "staged"})],
)
def test_what_was_admitted_after_a_theft_does_not_land(name: str, steps: set[str]) -> None:
    root = drafts.revoke(root_holder(), public(name).keyid, since=ADMITTED, expires=LATER)
    assert failed(decide(landing(root))) >= steps
    later = drafts.revoke(root_holder(), public(name).keyid, since=ADMITTED + 1, expires=LATER)
    assert decide(landing(later)).verdict == PASSED


def test_an_approval_that_was_never_logged_goes_with_its_key() -> None:
    for root in (without("rita", 99), stolen("rita", 99), stolen("rita", 0)):
        assert failed(decide(landing(root))) == {"reviews", "persons"}


def test_a_proposal_that_nobody_admitted_goes_with_its_runner() -> None:
    inputs = replace(landing(without("ken", 99)), attestations=())
    asked = Maker(root=ROOT, requester="ken", runner="ken")
    made = replace(
        inputs, inputs=replace(asked.inputs(), root=without("ken", 99), log=prove(before(), asked.request().id))
    )
    assert failed(decide(made)) >= {"runner", "requester"}


def test_entries_of_a_key_that_was_stolen_are_void_until_the_log_says_so() -> None:
    log = before()
    log += [MAKER.entry(log, "admitted", request="b" * 16)]  # the thief, with robot's key
    root = stolen("robot", 2)
    assert [entry.index for entry in standing(log, root)] == [0, 1]
    says = {"keys": (public("robot").keyid,), "since": 2, "root": root.version}
    told = [*log, Maker(root=root, ci="robin").entry(log, "revoked", request=None, statement=None, number=None, **says)]
    assert [entry.index for entry in standing(told, root)] == [0, 1, 3]
    after = [*told, MAKER.entry(told, "admitted", request="b" * 16)]
    with pytest.raises(SignatureError, match=r"entry 4 of the log is signed by key \w+, which entry 3 had revoked"):
        standing(after, root)


def test_a_role_that_ended_in_good_order_before_a_theft_was_known_breaks_no_honest_log() -> None:
    """The log knew of that end, and not of the theft: what the key said between them is void, and nobody's fault."""
    keyid, about = public("robot").keyid, {"request": None, "statement": None, "number": None}
    log = before()
    fewer = drafts.remove(ROOT, "robot", ("merger",), until=3, expires=LATER)
    ci = Maker(root=ROOT, ci="robin")
    log += [ci.entry(log, "retired", **about, keys=(keyid,), since=3, root=2)]
    log += [MAKER.entry(log, "admitted", request="b" * 16, root=2)]
    assert [entry.index for entry in standing(log, fewer)] == [0, 1, 2, 3]
    root = drafts.revoke(fewer, keyid, since=2, expires=LATER)
    log += [ci.entry(log, "revoked", **about, keys=(keyid,), since=2, root=3)]
    assert [entry.index for entry in standing(log, root)] == [0, 1, 2, 4]
    with pytest.raises(SignatureError, match=r"entry 5 of the log is signed by key \w+, which entry 4 had revoked"):
        standing([*log, MAKER.entry(log, "admitted", request="b" * 16)], root)


def test_a_void_admission_admits_nothing() -> None:
    assert failed(decide(landing(stolen("robot", ADMITTED)))) >= {"admitted"}


def test_what_a_thief_writes_of_somebody_else_s_end_breaks_nothing() -> None:
    log = before()
    says = {"keys": (public("robin").keyid,), "since": 0, "root": 1}
    log += [MAKER.entry(log, "revoked", request=None, statement=None, number=None, **says)]
    log += [Maker(root=ROOT, ci="robin").entry(log, "admitted", request="b" * 16)]
    assert len(standing(log, ROOT)) == 4
    later = drafts.revoke(ROOT, public("robin").keyid, since=3, expires=LATER)
    assert [entry.index for entry in standing(log, later)] == [0, 1, 2]


def test_an_entry_that_only_claims_the_key_breaks_the_log() -> None:
    log = before()
    forged = Maker(root=ROOT, ci="eve").entry(log, "admitted")
    with pytest.raises(SignatureError):
        standing(
            [*log, forged.replace(public("eve").keyid.encode(), public("robot").keyid.encode())], stolen("robot", 0)
        )


def test_a_log_that_knows_a_newer_trust_root_is_believed() -> None:
    log = [Maker(root=ROOT).entry([], "admitted", root=2)]
    with pytest.raises(
        SignatureError, match="goes by version 2 of the trust root, and the protected branch has version 1"
    ):
        standing(log, ROOT)


def test_a_removed_merger_s_entry_is_void_and_an_honest_role_goes_on() -> None:
    root = drafts.remove(ROOT, "robot", ("merger",), until=2, expires=LATER)
    log = before()
    log += [MAKER.entry(log, "admitted", request="b" * 16)]
    log += [MAKER.entry(log, "merged", request="b" * 16)]
    assert [entry.index for entry in standing(log, root)] == [0, 1, 2]


def test_an_approval_that_was_logged_outlives_its_reviewer() -> None:
    root = drafts.remove(ROOT, "rita", (), until=9, expires=LATER)
    inputs = MAKER.inputs()
    named = [inputs.request_envelope, inputs.provenance_envelope, MAKER.test_result(), MAKER.summary()]
    for names, missing in ((named, {"reviews", "persons"}), ([*named, MAKER.approval("rita")], set[str]())):
        log = before()
        log += [MAKER.entry(log, "admitted", names)]
        assert failed(decide(landing(root, log=log))) == missing
