"""The table of the verifier's steps in `docs/verification.md`, made from the code and from the attacks that are tried.

`python tests/support/step_table.py` writes it; a test compares.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "verification.md"
BEGIN, END = "<!-- made by tests/support/step_table.py: begin -->\n", "<!-- end -->\n"
Steps = Iterable[tuple[str, Callable[..., Any]]]


def table(steps: Steps, attacks: Mapping[str, Iterable[str]], first: int) -> str:
    """One row for each step: its number and name, what holds after it, its threat, and the attacks that it refuses."""
    rows = ["| | step | holds | threat | tried |", "|---|---|---|---|---|"]
    for number, (name, step) in enumerate(steps, first):
        holds, threat = said(step)
        rows.append(f"| {number} | {name} | {holds} | {threat} | {'; '.join(attacks[name])} |")
    return "\n".join(rows) + "\n"


def said(step: Callable[..., Any]) -> tuple[str, str]:
    """What a step's docstring says that holds, and the threat that it exists for, each in one line for a table."""
    text = " ".join((step.__doc__ or "").split()).replace("|", "\\|")
    match = re.fullmatch(r"(?P<holds>.*?) Threats?: (?P<threat>.*)", text)
    assert match is not None, f"{step} names no threat"
    threat = match["threat"]
    return match["holds"].rstrip("."), (threat[0].upper() + threat[1:]).removesuffix(".")


def attacks(verifying: ModuleType, landing: ModuleType) -> dict[str, list[str]]:
    """The attacks of two test modules by step. Where a step has tests of its own, their names stand for them."""
    own = {
        "documents": [*(f"{name} that is none" for name in verifying.UNREADABLE), *verifying.ODD],
        "log": [*verifying.LOGS],
        "open": _tests(
            verifying,
            "test_what_happened_before_is_final",
            "test_a_merge_that_was_reverted_is_consumed_all_the_same",
            "test_who_asked_may_take_it_back",
            "test_everything_stopped",
        ),
        "rejections": _tests(
            landing,
            "test_anybody_s_rejection_stands_beside_another_s_approval",
            "test_a_rejection_undoes_the_same_person_s_approval_whatever_the_dates_say",
            "test_an_old_approval_that_is_logged_again_undoes_no_rejection",
            "test_a_logged_rejection_stands_when_it_is_taken_out_of_the_record_and_others_approve",
        ),
    }
    for name, (_, step, _) in (*verifying.BROKEN.items(), *landing.REFUSED.items()):
        own.setdefault(step, []).append(name)
    return own


def offline(proven: ModuleType, attacked: ModuleType) -> dict[str, list[str]]:
    """The tests of bundles by the step that they are about."""
    stripped = "test_an_attestation_stripped_from_what_was_merged_is_a_no"
    return {
        "target at the base": _tests(attacked, "test_a_merge_onto_a_branch_that_had_moved_is_refused"),
        "admitted": _tests(
            attacked,
            "test_a_stripped_attestation_is_missed",
            "test_rules_exchanged_under_an_admitted_proposal_are_found",
        ),
        "staged": _tests(attacked, "test_a_staged_commit_of_something_else_is_refused"),
        "proofs": _tests(attacked, stripped),
        "rejections": _tests(proven, "test_a_rejected_proposal_is_a_no"),
        "reviews": _tests(attacked, stripped),
        "persons": _tests(attacked, stripped),
        "rules": _tests(attacked, "test_rules_of_the_bundles_own_are_said_to_be_so"),
        "merge": _tests(attacked, "test_a_merge_commit_of_something_else_is_refused"),
        "merge summary": _tests(attacked, stripped),
        "later": _tests(proven, "test_an_old_bundle_says_as_of_when"),
    }


def _tests(module: ModuleType, *names: str) -> list[str]:
    """The names as words, each of which is a test that is there."""
    assert all(callable(getattr(module, name)) for name in names)
    return [name.removeprefix("test_").replace("_s_", "'s ").replace("_", " ") for name in names]


def page(verifying: ModuleType, landing: ModuleType, proven: ModuleType, attacked: ModuleType) -> str:
    """The whole page, with the tables made again."""
    from agent_pipeline.verify.landing import STEPS as LANDING  # noqa: PLC0415 - the path may be set below
    from agent_pipeline.verify.offline import STEPS as OFFLINE  # noqa: PLC0415 - the same
    from agent_pipeline.verify.verifier import STEPS as VERIFYING  # noqa: PLC0415 - the same

    tried, then = attacks(verifying, landing), len(VERIFYING) + 1
    tables = (table(VERIFYING, tried, 1), table(LANDING, tried, then), table(OFFLINE, offline(proven, attacked), then))
    made = iter(tables)
    text = PAGE.read_text(encoding="utf-8")
    return re.sub(f"{BEGIN}.*?{END}", lambda _: f"{BEGIN}\n{next(made)}\n{END}", text, flags=re.DOTALL)


if __name__ == "__main__":
    units = ROOT / "tests" / "unit"
    sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(units / "verify"), str(units / "bundle")]
    import test_bundle_attacked
    import test_bundle_proven
    import test_verify_landing
    import test_verify_steps

    made = page(test_verify_steps, test_verify_landing, test_bundle_proven, test_bundle_attacked)
    PAGE.write_text(made, encoding="utf-8")
