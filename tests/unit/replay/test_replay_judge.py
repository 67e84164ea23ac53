"""How a check ended decides what is said about it; code under test cannot make silence a yes."""

from __future__ import annotations

import pytest

from agent_pipeline.documents.policy import CheckPolicy
from agent_pipeline.documents.provenance import SandboxFacts
from agent_pipeline.documents.replay_result import Run
from agent_pipeline.documents.verification import FAILED, PASSED, UNKNOWN, Check
from agent_pipeline.replay.checks import Ran, judge
from agent_pipeline.replay.replay import _none_vanished
from agent_pipeline.replay.report import EMPTY, Report

FACTS = SandboxFacts("bubblewrap", "0.8.0", "", "0" * 64, "1" * 64, "2" * 64, (), "copy")
PYTEST = CheckPolicy(("python", "-m", "pytest"), 60, ("t::old",), reports=True)
PLAIN = CheckPolicy(("make", "check"), 60)


def ran(
    code: int | None, *, passed: set[str] | None = None, failed: set[str] | None = None, setup: str | None = None
) -> Ran:
    reported = passed is not None
    tests = Report(frozenset(passed or ()), frozenset(failed or ()), frozenset(), complete=reported, status=code)
    run = Run(
        check="full",
        on="result",
        tree="3" * 40,
        seconds=1,
        passed=len(passed or ()),
        failed=tuple(sorted(failed or ())),
        reported=reported,
        output="said",
        code=code,
    )
    return Ran(run, tests if reported else EMPTY, FACTS, setup)


@pytest.mark.parametrize(
    ("check", "how", "outcome"),
    [
        (PYTEST, ran(0, passed={"t::a"}), PASSED),
        (PYTEST, ran(0), FAILED),  # os._exit(0) in the code under test: no report
        (PYTEST, ran(0, passed=set()), FAILED),  # no test ran
        (PYTEST, ran(0, passed={"t::a"}, failed={"t::b"}), FAILED),  # a forged exit code
        (PYTEST, ran(1, passed={"t::a"}, failed={"t::old"}), PASSED),  # as on the base
        (PYTEST, ran(1, passed={"t::a"}, failed={"t::old", "t::new"}), FAILED),
        (PYTEST, ran(2, passed={"t::a"}, failed={"t::old"}), FAILED),  # interrupted, not merely failed
        (PYTEST, ran(None, passed={"t::a"}), FAILED),
        (PYTEST, ran(0, passed={"t::a"}, setup="pip broke"), FAILED),
        (PLAIN, ran(0), PASSED),
        (PLAIN, ran(1), FAILED),
        (PLAIN, ran(127), UNKNOWN),
        (PLAIN, ran(None), FAILED),
    ],
)
def test_how_a_check_ended_decides(check: CheckPolicy, how: Ran, outcome: str) -> None:
    assert judge("replay: full", check, how).outcome == outcome


def test_a_test_that_passed_on_the_base_may_not_vanish() -> None:
    said = Check("regression: the base's tests pass", PASSED, "")
    before = ran(1, passed={"t::a", "t::b"}, failed={"t::new"})
    assert _none_vanished(said, before, ran(0, passed={"t::a", "t::b", "t::new"})).outcome == PASSED
    assert _none_vanished(said, before, ran(0, passed={"t::a", "t::new"})).outcome == FAILED
    assert _none_vanished(said, before, ran(0, passed={"t::a"}), ran(0, passed={"t::b"})).outcome == PASSED


def test_one_test_is_no_tests() -> None:
    assert judge("full", PYTEST, ran(0, passed={"t::a"})).reason == "1 test passed in 1 s"
    assert judge("full", PYTEST, ran(0, passed={"t::a", "t::b"})).reason == "2 tests passed in 1 s"
    assert judge("full", PYTEST, ran(1, passed={"t::a"}, failed={"t::new"})).reason == "1 test fails: t::new"
