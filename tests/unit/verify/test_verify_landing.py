"""What a merge needs beside a verified proposal, and every way in which it is not there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest
from support.logs import prove
from support.trust import NOW, REPOSITORY, TEAM, Maker, alone, public, root_of, sign

from agent_pipeline.attestation import sshsig
from agent_pipeline.documents import moments, strict
from agent_pipeline.documents.approval import REJECTED
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.statement import Statement
from agent_pipeline.documents.summary import MERGER_ID
from agent_pipeline.documents.verification import FAILED, PASSED, UNKNOWN, Check, Verification
from agent_pipeline.verify import decide
from agent_pipeline.verify.inputs import LandingInputs
from agent_pipeline.verify.landing import STEPS
from agent_pipeline.verify.reviews import UNLOGGED

OTHER, OTHER_ID = "f" * 64, "a" * 40
ELSEWHERE = "https://git.example.org/evil/app"


def of(verification: Verification, name: str) -> tuple[str, str]:
    check = next(check for check in verification.checks if check.name[3:] == name)
    return check.outcome, check.reason


def failed(verification: Verification) -> set[str]:
    return {check.name[3:] for check in verification.checks if check.outcome == FAILED}


def fields(name: str, **values: Any) -> dict[str, Callable[[Any], Any]]:
    return {f"{name}_change": lambda document: replace(document, **values)}


def landing(function: Callable[[LandingInputs], LandingInputs]) -> dict[str, Any]:
    return {"landing_change": function}


def added(*envelopes: bytes) -> dict[str, Any]:
    return landing(lambda given: replace(given, attestations=(*given.attestations, *envelopes)))


def result_with(name: str, outcome: str) -> dict[str, Any]:
    def change_it(result: Any) -> Any:
        checks = tuple(replace(c, outcome=outcome) if c.name == name else c for c in result.checks)
        return replace(result, checks=checks)

    return {"result_change": change_it}


@pytest.mark.parametrize(
    ("maker", "proofs"),
    [
        (Maker(), ("signed", "replayed", "regression", "reviewed 1/1", "3 persons")),
        (Maker(requester="mel"), ("signed", "replayed", "regression", "reviewed 1/1", "4 persons")),
        (Maker(reviewers=("rita", "rex")), ("signed", "replayed", "regression", "reviewed 2/1", "4 persons")),
        (Maker(kind="feature"), ("signed", "replayed", "reviewed 1/1", "3 persons")),
        (alone(), ("signed", "replayed", "regression", "one person")),
    ],
    ids=["team", "another requester", "two reviewers", "feature", "alone"],
)
def test_lands(maker: Maker, proofs: tuple[str, ...]) -> None:
    decision = decide(maker.landing())
    assert decision.verdict == PASSED, [check for check in decision.checks if check.outcome != PASSED]
    assert decision.proofs == proofs
    assert Verification.from_json(decision.to_json()) == decision


def test_every_step_names_its_threat_and_goes_on_counting() -> None:
    checks = decide(Maker().landing()).checks
    assert [int(check.name[:2]) for check in checks] == list(range(1, len(checks) + 1))
    assert all("Threat" in (step.__doc__ or "") for _, step in STEPS)


MAKER = Maker()
LANDING = MAKER.landing()
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "target moved": (landing(lambda given: replace(given, target_tip=OTHER_ID)), "target unmoved", "ask again"),
    "target gone": (landing(lambda given: replace(given, target_tip=None)), "target unmoved", "missing"),
    "a trial": (
        {**fields("request", trial=True), **fields("inputs", landed=False)},
        "rules landed",
        "have not landed",
    ),
    # CI.
    "never admitted": (
        landing(lambda given: replace(given, inputs=replace(given.inputs, log=prove([], given.inputs.request)))),
        "admitted",
        "no summary",
    ),
    "admission of another summary": (
        {"entry_change": lambda e: replace(e, envelopes=(OTHER,))},
        "admitted",
        "no summary",
    ),
    "admission of another proposal": (
        {"entry_change": lambda e: replace(e, statement=OTHER)},
        "admitted",
        "no summary",
    ),
    "summary that failed": (fields("summary", passed=False), "admitted", "no summary"),
    "summary of a merge": (fields("summary", verifier=MERGER_ID), "admitted", "no summary"),
    "summary of another statement": (fields("summary", statement=OTHER), "admitted", "no summary"),
    "summary of another tree": (fields("summary", tree=OTHER_ID), "admitted", "no summary"),
    "summary of another base": (fields("summary", base=OTHER_ID), "admitted", "no summary"),
    "summary of another policy": (fields("summary", policy=OTHER), "admitted", "no summary"),
    "summary of another repository": (fields("summary", repository=ELSEWHERE), "admitted", "no summary"),
    "summary of another target": (fields("summary", target="refs/heads/x"), "admitted", "no summary"),
    "summary of other inputs": (fields("summary", inputs=(OTHER,)), "admitted", "no summary"),
    "a test that fails": (result_with("replay: full", "failed"), "proofs", "replayed"),
    "a test that could not be told": (result_with("replay: full", "unknown"), "proofs", "replayed"),
    "a fix without a regression": (
        {"result_change": lambda r: replace(r, checks=r.checks[:2])},
        "proofs",
        "needs to be regression",
    ),
    "a regression that was skipped": (
        result_with("regression: fails without the fix", "skipped"),
        "proofs",
        "needs to be regression",
    ),
    "a replay without its full check": (
        {"result_change": lambda r: replace(r, checks=r.checks[:1])},
        "proofs",
        "replayed",
    ),
    "a replay of another tree": (fields("result", tree=OTHER_ID), "proofs", "replayed"),
    "a replay of another statement": (fields("result", statement=OTHER), "proofs", "replayed"),
    "a replay of another number": (fields("result", number=2), "proofs", "replayed"),
    "a replay in another image": (fields("result", image=OTHER), "proofs", "replayed"),
    # The staged branch.
    "no staged branch": (landing(lambda given: replace(given, staged=None)), "staged", "no signed commit"),
    "staged branch with another tree": (
        landing(lambda given: replace(given, staged=MAKER.staged(tree=OTHER_ID))),
        "staged",
        "tree",
    ),
    "staged branch on another base": (
        landing(lambda given: replace(given, staged=MAKER.staged(parent=OTHER_ID))),
        "staged",
        "parent",
    ),
    "staged branch with two parents": (
        landing(lambda given: replace(given, staged=MAKER.staged(parent=f"{'b' * 40}\nparent {OTHER_ID}"))),
        "staged",
        "parent",
    ),
    "staged for another proposal": (
        landing(lambda given: replace(given, staged=MAKER.staged(statement="0" * 64))),
        "staged",
        "another proposal",
    ),
    "staged by the runner": (landing(lambda given: replace(given, staged=MAKER.staged(key="ada"))), "staged", "no ci"),
    "staged by nobody": (landing(lambda given: replace(given, staged=MAKER.staged(key="eve"))), "staged", "nobody's"),
    "staged commit altered": (
        landing(lambda given: replace(given, staged=(MAKER.staged()[0] + b"x", MAKER.staged()[1]))),
        "staged",
        "not one by key",
    ),
    "staged with a signature that is none": (
        landing(lambda given: replace(given, staged=(MAKER.staged()[0], "-----BEGIN PGP SIGNATURE-----"))),
        "staged",
        "no armored",
    ),
    "staged with an envelope's signature": (
        landing(lambda given: replace(given, staged=(b"{}", sshsig.armor(bytes(64), public("robot"))))),
        "staged",
        "signature",
    ),
    # Reviews.
    "no review": ({"reviewers": ()}, "reviews", "0 of 1"),
    "approval of another tree": (fields("approval", tree=OTHER_ID), "reviews", "tree"),
    "approval of another base": (fields("approval", base=OTHER_ID), "reviews", "base"),
    "approval of another target": (fields("approval", target="refs/heads/x"), "reviews", "target"),
    "approval in another repository": (fields("approval", repository=ELSEWHERE), "reviews", "repository"),
    "approval of another request": (fields("approval", request="b" * 16), "reviews", "request"),
    "approval of another proposal": (fields("approval", proposal=OTHER), "reviews", "proposal"),
    "approval under another policy": (fields("approval", policy=OTHER), "reviews", "policy"),
    "approval that expired": ({"now": NOW + timedelta(days=11)}, "reviews", "expired"),
    "approval from the future": (
        fields("approval", created=moments.write(NOW + timedelta(days=1))),
        "reviews",
        "future",
    ),
    "approval for longer than the policy says": (
        fields("approval", expires=moments.write(NOW + timedelta(days=15))),
        "reviews",
        "14 days",
    ),
    "approval in another's name": (fields("approval", reviewer="rex"), "reviews", "0 of 1"),
    "approval by who asked": ({"requester": "mel", "reviewers": ("mel",)}, "reviews", "asked for the change"),
    "approval by the runner's owner": (
        {
            "root": root_of({**TEAM, "ada": (*TEAM["ada"], "reviewer")}, bots=("robot",)),
            "requester": "mel",
            "reviewers": ("ada",),
        },
        "reviews",
        "owns the runner",
    ),
    "approval by nobody": ({"reviewers": ("eve",)}, "reviews", "0 of 1"),
    "approval by a key in another role": ({"reviewers": ("ada",)}, "reviews", "0 of 1"),
    "one reviewer twice": (
        {
            "policy": MAKER.policy.replace(b"reviewers: 1", b"reviewers: 2"),
            "approval_change": lambda a: replace(a, created=moments.write(NOW)),
            "reviewers": ("rita", "rita"),
        },
        "reviews",
        "1 of 2",
    ),
    "two people where three are wanted": (
        {"policy": MAKER.policy.replace(b"reviewers: 1", b"reviewers: 0"), "reviewers": ()},
        "persons",
        "2 persons of 3",
    ),
    "a merger without the role": (
        landing(lambda given: replace(given, merger=public("ada").keyid)),
        "merger",
        "no merger",
    ),
    "a merger nobody knows": (landing(lambda given: replace(given, merger=public("eve").keyid)), "merger", "nobody's"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_does_not_land(name: str) -> None:
    changes, step, word = REFUSED[name]
    decision = decide(Maker(**changes).landing())
    outcome, reason = of(decision, step)
    assert outcome == FAILED, (reason, failed(decision))
    assert word in reason
    assert decision.verdict == FAILED
    Verification.from_json(decision.to_json())


def test_every_step_has_a_way_to_fail() -> None:
    assert {step for _, step, _ in REFUSED.values()} | {"rejections"} == {name for name, _ in STEPS}


def test_ci_s_signature_by_another_role_does_not_count() -> None:
    for who in ("ada", "rita", "eve"):
        maker = Maker(ci=who)
        forged = replace(LANDING, attestations=(maker.test_result(), maker.summary(), maker.approval("rita")))
        assert {"admitted", "proofs"} <= failed(decide(forged))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"PASSED"', b'"WARNED"'),
        (b"replay: tree", b"replay: true"),
        (strict.sha256(MAKER.policy).encode(), OTHER.encode()),
    ],
    ids=["another result", "another list of tests", "another policy"],
)
def test_a_test_result_that_contradicts_itself_or_was_made_by_other_rules(old: bytes, new: bytes) -> None:
    original = MAKER.test_result()
    payload = Envelope.from_json(original).payload
    assert old in payload
    other = sign(Statement.from_json(payload.replace(old, new, 1)), "robot")
    maker = Maker(
        **fields(
            "summary",
            inputs=tuple(
                strict.sha256(data) for data in (MAKER.request_envelope(), sign(MAKER.statement(), "ada"), other)
            ),
        )
    )
    given = maker.landing()
    kept = tuple(other if data == original else data for data in given.attestations)
    entry = maker.entry([], "admitted", [maker.summary()])
    decision = decide(
        replace(given, attestations=kept, inputs=replace(given.inputs, log=prove([entry], given.inputs.request)))
    )
    assert failed(decision) == {"proofs"}


# What is not there, and what is there too much.


def test_removing_envelopes_never_helps_and_adding_bad_ones_changes_nothing() -> None:
    rejected = Maker(**added(MAKER.approval("rex", REJECTED, reason="no"))).landing()
    assert decide(rejected).verdict == FAILED
    every = LANDING.attestations
    for size in range(len(every)):
        for kept in combinations(every, size):
            decision = decide(replace(LANDING, attestations=kept))
            assert decision.verdict == FAILED or set(every) - set(kept) == {every[0]}
    junk = (b"", b"{}", MAKER.approval("eve"), MAKER.approval("ada", REJECTED), every[0][:-1])
    assert decide(replace(LANDING, attestations=(*every, *junk))) == decide(LANDING)
    assert decide(replace(LANDING, attestations=every[::-1])) == decide(LANDING)


# Rejections.


def test_anybody_s_rejection_stands_beside_another_s_approval() -> None:
    decision = decide(Maker(**added(MAKER.approval("rex", REJECTED, reason="it hides the error"))).landing())
    assert failed(decision) == {"rejections"}
    assert "it hides the error" in of(decision, "rejections")[1]


def test_a_rejection_undoes_the_same_person_s_approval_whatever_the_dates_say() -> None:
    old = moments.write(NOW - timedelta(days=5))
    decision = decide(Maker(**added(MAKER.approval("rita", REJECTED, created=old, reason="no"))).landing())
    assert failed(decision) == {"rejections", "reviews", "persons"}


NO = MAKER.approval("rita", REJECTED, reason="no")
BACK = MAKER.approval("rita", takes_back=(strict.sha256(NO),))  # she thought better of it


def reviewed(*events: str, yes: bytes = BACK) -> LandingInputs:
    """Rita approved and rejected, and CI logged it in this order."""
    entries = [*MAKER.log, MAKER.admission()]
    for event in events:
        named = [yes, NO] if event == "approved" else [NO]
        entries.append(MAKER.entry(entries, event, named, reviewer="rita"))
    inputs = replace(LANDING.inputs, log=prove(entries, LANDING.inputs.request))
    return replace(LANDING, inputs=inputs, attestations=(*LANDING.attestations, NO, yes))


def test_a_rejection_ends_with_an_approval_that_names_it_and_that_the_log_has_after_it() -> None:
    assert decide(reviewed("rejected", "approved")).verdict == PASSED
    assert decide(reviewed("approved", "rejected")).verdict == FAILED
    assert failed(decide(reviewed("rejected"))) == {"open", "rejections", "reviews", "persons"}
    waits = decide(reviewed())
    assert failed(waits) == {"rejections", "reviews", "persons"}
    assert UNLOGGED in of(waits, "rejections")[1]
    assert UNLOGGED not in of(decide(reviewed("approved", "rejected")), "rejections")[1]


def test_a_rejection_that_ci_never_saw_ends_with_the_approval_that_names_it() -> None:
    assert decide(reviewed("approved")).verdict == PASSED


def test_an_old_approval_that_is_logged_again_undoes_no_rejection() -> None:
    assert decide(reviewed("approved", "rejected", "approved")).verdict == FAILED
    old = MAKER.approval("rita")  # from before, and logged by CI's own key only now
    assert failed(decide(reviewed("rejected", "approved", yes=old))) == {"rejections", "reviews", "persons"}


def test_a_newer_rejection_stands_beside_the_approval_that_took_an_older_one_back() -> None:
    for ends, fails in (((NO,), {"open", "rejections", "reviews", "persons"}), ((NO, "newer"), set())):
        newer = MAKER.approval("rita", REJECTED, reason="no, I mean it")
        named = tuple(newer if one == "newer" else one for one in ends)
        yes = MAKER.approval("rita", takes_back=tuple(strict.sha256(one) for one in named))
        entries = [*MAKER.log, MAKER.admission()]
        for event, envelopes in (("rejected", [NO]), ("rejected", [newer]), ("approved", [yes, *named])):
            entries.append(MAKER.entry(entries, event, envelopes, reviewer="rita"))
        inputs = replace(LANDING.inputs, log=prove(entries, LANDING.inputs.request))
        given = (*LANDING.attestations, NO, newer, yes)
        assert failed(decide(replace(LANDING, inputs=inputs, attestations=given))) == fails


def test_somebody_else_s_approval_that_names_a_rejection_does_not_end_it() -> None:
    no = MAKER.approval("rex", REJECTED, reason="no")
    yes = MAKER.approval("rita", takes_back=(strict.sha256(no),))
    for who in ("rita", "rex"):
        entries = [*MAKER.log, MAKER.admission()]
        entries.append(MAKER.entry(entries, "rejected", [no], reviewer="rex"))
        entries.append(MAKER.entry(entries, "approved", [yes, no], reviewer=who))
        inputs = replace(LANDING.inputs, log=prove(entries, LANDING.inputs.request))
        assert "rejections" in failed(decide(replace(LANDING, inputs=inputs, attestations=(yes, no))))


def test_a_rejection_takes_nothing_back() -> None:
    odd = MAKER.approval("rita", REJECTED, takes_back=(strict.sha256(NO),))
    assert decide(replace(LANDING, attestations=(*LANDING.attestations, odd))) == decide(LANDING)


def test_an_old_approval_in_another_spelling_is_no_new_one() -> None:
    yes, no = BACK, NO
    again = yes[:-1] + b',"later":1}'
    entries = [*MAKER.log, MAKER.admission()]
    for event, envelope in (("approved", yes), ("rejected", no), ("approved", again)):
        entries.append(MAKER.entry(entries, event, [envelope], reviewer="rita"))
    log = prove(entries, LANDING.inputs.request)
    given = (*LANDING.attestations, no, again)
    decision = decide(replace(LANDING, inputs=replace(LANDING.inputs, log=log), attestations=given))
    assert {"rejections", "reviews"} <= failed(decision)


@pytest.mark.parametrize("logged", [("rejected",), ("rejected", "approved"), ("approved", "rejected")])
def test_a_logged_rejection_stands_when_it_is_taken_out_of_the_record_and_others_approve(
    logged: tuple[str, ...],
) -> None:
    yes, no = MAKER.approval("rita"), MAKER.approval("rex", REJECTED, reason="no")
    entries = [*MAKER.log, MAKER.admission()]
    for event in logged:
        who, envelope = ("rita", yes) if event == "approved" else ("rex", no)
        entries.append(MAKER.entry(entries, event, [envelope], reviewer=who))
    inputs = replace(LANDING.inputs, log=prove(entries, LANDING.inputs.request))
    decision = decide(replace(LANDING, inputs=inputs))  # rex's envelope is not there
    assert failed(decision) == {"open", "rejections"}
    assert "rex rejected it" in of(decision, "rejections")[1]


def test_ci_cannot_say_that_a_reviewer_thought_better_of_it() -> None:
    no = MAKER.approval("rex", REJECTED, reason="no")
    entries = [*MAKER.log, MAKER.admission()]
    entries.append(MAKER.entry(entries, "rejected", [no], reviewer="rex"))
    entries.append(MAKER.entry(entries, "approved", [b"nothing that rex signed", no], reviewer="rex"))
    decision = decide(replace(LANDING, inputs=replace(LANDING.inputs, log=prove(entries, LANDING.inputs.request))))
    assert failed(decision) == {"rejections"}


def test_a_rejection_of_another_proposal_does_not_stand_here() -> None:
    assert (
        decide(Maker(**added(MAKER.approval("rex", REJECTED, proposal=OTHER, reason="no"))).landing()).verdict == PASSED
    )


# Whose own machine or rules cannot tell.


def test_an_expired_trust_root_is_never_a_yes_and_no_no_either() -> None:
    soon = replace(LANDING.inputs.root, expires=moments.write(NOW + timedelta(seconds=1)))
    for later, verdict in ((0, PASSED), (1, UNKNOWN)):
        inputs = replace(LANDING.inputs, root=soon, now=NOW + timedelta(seconds=later))
        decision = decide(replace(LANDING, inputs=inputs))
        assert (decision.verdict, bool(decision.proofs)) == (verdict, verdict == PASSED)
        assert failed(decision) == set()


# What is said.


def test_nothing_is_proven_when_the_proposal_itself_does_not_hold() -> None:
    decision = decide(Maker(runner="eve").landing())
    assert decision.verdict == FAILED
    assert decision.proofs == ()


def test_what_is_proven_so_far_is_said_while_reviews_are_missing() -> None:
    decision = decide(Maker(reviewers=()).landing())
    assert decision.proofs == ("signed", "replayed", "regression", "reviewed 0/1", "2 persons")


def test_a_proposal_that_cannot_be_read_lands_nowhere() -> None:
    decision = decide(replace(LANDING, inputs=replace(LANDING.inputs, provenance_envelope=b"")))
    assert decision.verdict == FAILED
    assert decision.proofs == ()
    Verification.from_json(decision.to_json())


def test_words_of_strangers_do_not_act_on_a_terminal() -> None:
    decision = decide(Maker(**added(MAKER.approval("rex", REJECTED, reason="\x1b[2Jno\n\u202eno"))).landing())
    reason = of(decision, "rejections")[1]
    assert reason.isprintable()


def test_checks_have_reasons() -> None:
    assert all(isinstance(check, Check) and check.reason for check in decide(LANDING).checks)
    assert REPOSITORY in decide(LANDING).checks[3].reason
