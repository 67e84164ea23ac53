"""The demo's case says what the code that plays it relies on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agent_pipeline.agent.tools import editor
from agent_pipeline.documents.request import KINDS
from agent_pipeline.documents.submission import Submission

ROOT = Path(__file__).parents[3]
EDITOR, CHECK, SUBMIT = "str_replace_based_edit_tool", "run_check", "submit_proposal"


@pytest.fixture(scope="module")
def case() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "golden/demo/case.json").read_bytes())
    return found


@pytest.fixture(scope="module")
def calls(case: dict[str, Any]) -> list[dict[str, Any]]:
    return [call for turn in case["turns"] for call in turn["calls"]]


def test_names_one_source_distribution(case: dict[str, Any]) -> None:
    assert case["sdist"] == f"{case['package']}-{case['version']}.tar.gz"
    assert len(bytes.fromhex(case["sha256"])) == 32
    assert case["version"] != case["fixed_in"]
    assert case["fixed_in"] in (ROOT / "golden/demo/NOTICE").read_text()


def test_asks_for_the_symptom_and_not_for_the_mend(case: dict[str, Any]) -> None:
    assert case["kind"] in KINDS
    assert "strip(" not in case["request"]


def test_every_call_has_the_form_of_its_tool(calls: list[dict[str, Any]]) -> None:
    for call in calls:
        if call["name"] == EDITOR:
            jsonschema.validate(call["input"], editor.SCHEMA)
        elif call["name"] == CHECK:
            assert call["input"] == {"name": "quick"}
        else:
            assert Submission.from_dict(call["input"]).checks == ("quick",)


def test_shows_the_fault_mends_it_and_submits_what_changed(case: dict[str, Any], calls: list[dict[str, Any]]) -> None:
    edited = {c["input"]["path"] for c in calls if c["name"] == EDITOR and c["input"]["command"] != "view"}
    assert sorted(calls[-1]["input"]["files"]) == sorted(edited)
    assert [c["name"] for c in calls].count(SUBMIT) == 1
    checks = [number for number, call in enumerate(calls) if call["name"] == CHECK]
    source = [n for n, c in enumerate(calls) if c["input"].get("path") == "src/mistune/block_parser.py"]
    edits = [n for n in source if calls[n]["input"]["command"] != "view"]
    assert len(checks) == 2
    assert checks[0] < min(edits) <= max(edits) < checks[1]
    for test in case["regression"]:
        path, _, name = test.partition("::")
        added = [
            c["input"]["insert_text"] for c in calls if c["input"].get("path") == path and "insert_text" in c["input"]
        ]
        assert f"def {name.rpartition('::')[2]}(" in "".join(added)
