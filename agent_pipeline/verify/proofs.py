"""The words for what is proven, and never more than that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from agent_pipeline.documents.replay_result import ReplayResult
from agent_pipeline.documents.verification import PASSED
from agent_pipeline.verify.case import Case
from agent_pipeline.verify.signers import requester_of, runner_of

SIGNED, REPLAYED, REGRESSION, REDERIVED = "signed", "replayed", "regression", "re-derived"
# A replay names its checks `<word>: <what>`; these are the ones without which the word is not said.
NEEDED: Final = {
    REPLAYED: ("replay: tree", "replay: full"),
    REGRESSION: ("regression: fails without the fix", "regression: the base's tests pass"),
    REDERIVED: ("re-derived: tree",),
}
_PREFIX: Final = {REPLAYED: "replay: ", REGRESSION: "regression: ", REDERIVED: "re-derived: "}


def of_replay(result: ReplayResult) -> tuple[str, ...]:
    """Return the words that a replay proves: all checks that belong to a word are there and passed."""
    found = []
    for word, needed in NEEDED.items():
        checks = [check for check in result.checks if check.name.startswith(_PREFIX[word])]
        whole = {check.name for check in checks} >= set(needed)
        if whole and all(check.outcome == PASSED for check in checks):
            found.append(word)
    return tuple(found)


def persons(names: Iterable[str]) -> str:
    """Return how many people vouch, in words; one alone is said to be one."""
    count = len(set(names))
    return "one person" if count == 1 else f"{count} persons"


def words(case: Case, verdict: str) -> tuple[str, ...]:
    """Return what a verification alone proves: nothing unless it passed."""
    if verdict != PASSED:
        return ()
    return SIGNED, persons((runner_of(case).name, requester_of(case).name))
