"""The table of attacks is complete: every number once, and its tests are where it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.trust import Maker

from agent_pipeline.verify import decide

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| `([^`]+)` \|$", re.MULTILINE)
ROWS = {int(number): (said, refused, HERE / file) for number, said, refused, file in ROW.findall(PAGE)}
TESTS = {path: set(re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)) for path in HERE.rglob("test_*.py")}
STEPS = {check.name for check in decide(Maker().landing()).checks}


def test_every_number_stands_there_once() -> None:
    assert [int(number) for number, *_ in ROW.findall(PAGE)] == list(range(1, 76))


@pytest.mark.parametrize("number", range(1, 76))
def test_an_attack_is_tried_where_the_table_says_and_only_there(number: int) -> None:
    said, refused, path = ROWS[number]
    assert said.strip()
    assert refused.strip()
    having = {file for file, names in TESTS.items() if any(name.startswith(f"test_{number:03d}_") for name in names)}
    assert having == {path}


def test_the_steps_are_called_what_they_are_called() -> None:
    for number, (_, refused, _) in ROWS.items():
        for name in re.findall(r"\b\d{2} [a-z]+(?: [a-z]+)*", refused):
            assert any(name == step or name.startswith(f"{step} ") for step in STEPS), (number, name)


def test_the_files_beside_the_list_exist() -> None:
    beside = PAGE.partition("## Beside the list")[2]
    for name in re.findall(r"`([\w/]+\.py|tests/fuzz/)`", beside):
        assert (HERE / name).exists() or (ROOT / name).exists(), name
