"""The page about the steps says what the code does and what the tests try."""

from __future__ import annotations

import sys
from pathlib import Path

import test_verify_landing
import test_verify_steps
from support import step_table

from agent_pipeline.verify.offline import STEPS as OFFLINE

sys.path.append(str(Path(__file__).parents[1] / "bundle"))

import test_bundle_attacked
import test_bundle_proven


def test_the_page_is_as_made() -> None:
    made = step_table.page(test_verify_steps, test_verify_landing, test_bundle_proven, test_bundle_attacked)
    assert step_table.PAGE.read_text(encoding="utf-8") == made, "run `python tests/support/step_table.py`"


def test_every_step_is_tried() -> None:
    tried = step_table.attacks(test_verify_steps, test_verify_landing)
    steps = {name for name, _ in (*test_verify_steps.STEPS, *test_verify_landing.STEPS)}
    assert set(tried) == steps
    assert all(tried.values())
    offline = step_table.offline(test_bundle_proven, test_bundle_attacked)
    assert set(offline) == {name for name, _ in OFFLINE}
    assert all(offline.values())
