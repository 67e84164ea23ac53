"""The table of attacks is complete: every number once, and its tests are where it says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from support.trust import Maker

from agent_pipeline.verify import decide

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VERIFIER = ROOT / "tests" / "unit" / "verify"
PAGE = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| `([^`]+)` \|$", re.MULTILINE)
ROWS = {int(number): (said, refused, HERE / file) for number, said, refused, file in ROW.findall(PAGE)}
TESTS = {path: set(re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)) for path in HERE.rglob("test_*.py")}
STEPS = {check.name for check in decide(Maker().landing()).checks}
STEP = re.compile(r"\b\d{2} [a-z]+(?: [a-z]+)*")


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
        for name in STEP.findall(refused):
            assert any(name == step or name.startswith(f"{step} ") for step in STEPS), (number, name)


@pytest.mark.parametrize("number", range(1, 76))
def test_a_step_that_a_row_claims_is_one_that_its_tests_look_at(number: int) -> None:
    """Its name, with its number, is a string in them or in what they use of their file: not only in what they say."""
    _, refused, path = ROWS[number]
    defined = definitions(path)
    names = {name for name in defined if name.startswith(f"test_{number:03d}_")}
    shown = {text for name in used(names, defined) for text in strings(defined[name])}
    assert claimed(refused) <= shown, claimed(refused) - shown


@pytest.mark.parametrize("row", PAGE.partition("## Beside the list")[2].splitlines())
def test_a_step_that_a_row_beside_the_list_claims_stands_in_its_tests(row: str) -> None:
    """With its number; the tests of the verifier itself call it by its name alone."""
    shown = set()
    for name in re.findall(r"`([\w/]+\.py)`", row):
        path = HERE / name if (HERE / name).exists() else ROOT / name
        said = set(strings(ast.parse(path.read_text(encoding="utf-8")))) if path.exists() else set()
        shown |= {step for step in STEPS if step in said or (path.parent == VERIFIER and step[3:] in said)}
    refused = row.rpartition(" | ")[0].rpartition(" | ")[2]
    assert claimed(refused) <= shown, claimed(refused) - shown


def claimed(refused: str) -> set[str]:
    """The steps that a row names, without the words that follow them."""
    return {step for name in STEP.findall(refused) for step in STEPS if name == step or name.startswith(f"{step} ")}


@cache
def definitions(path: Path) -> dict[str, ast.stmt]:
    """What a file defines at its top, by name: functions, classes and tables."""
    found: dict[str, ast.stmt] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id: node for target in targets if isinstance(target, ast.Name)}
    return found


def used(names: set[str], defined: dict[str, ast.stmt]) -> set[str]:
    """`names`, and what of their file they use, by whatever way."""
    found, new = set(names), set(names)
    while new:
        words = {node.id for name in new for node in ast.walk(defined[name]) if isinstance(node, ast.Name)}
        new = (words & defined.keys()) - found
        found |= new
    return found


def strings(node: ast.AST) -> Iterator[str]:
    """Every string below `node` that is a value; a docstring is none."""
    for inner in ast.walk(node):
        for child in ast.iter_child_nodes(inner):
            if isinstance(child, ast.Constant) and isinstance(child.value, str) and not isinstance(inner, ast.Expr):
                yield child.value


def test_the_files_beside_the_list_exist() -> None:
    beside = PAGE.partition("## Beside the list")[2]
    for name in re.findall(r"`([\w/]+\.py|tests/fuzz/)`", beside):
        assert (HERE / name).exists() or (ROOT / name).exists(), name
