"""What `show` prints keeps apart who says what: the runner, CI, and this machine just now."""

from __future__ import annotations

from typing import Any

from agent_pipeline.cli.life import life
from agent_pipeline.documents.verification import FAILED, PASSED, UNKNOWN, Check
from agent_pipeline.review.report import CI, HERE, seen

REPLAYED = seen([Check("replay: tree", PASSED, "the tree is the signed one")], CI)


def document(**fields: Any) -> dict[str, Any]:
    value: dict[str, Any] = {
        "id": "k3vabcdefgh23456", "proposal": "k3vabcdefgh23456.1", "state": "staged", "kind": "fix",
        "requester": "ada", "created": "2026-03-01T12:00:00Z", "text": "the total is wrong", "paths": ["app.py"],
        "base": "b" * 40, "tree": "d" * 40, "engine": "claude", "model": "a-model", "command": None, "usage": None,
        "checks": REPLAYED, "summary": "seen by CI\nproofs    everything", "signatures": [], "merged_as": None,
        "missing": [], "next": "wait", "target": "refs/heads/main", "proofs": ["signed", "replayed", "2 persons"],
    }  # fmt: skip
    return value | fields


def test_good() -> None:
    lines = life(document()).splitlines()
    runner, by_ci = lines.index("asserted by the runner"), lines.index("seen by CI")
    assert runner < by_ci
    assert any("a-model" in line for line in lines[runner:by_ci])
    assert lines[by_ci + 1].strip() == "✓ replay: tree: the tree is the signed one"
    assert "proofs    signed · replayed · 2 persons" in lines
    assert lines[-1] == "next:     wait"


def test_what_fails_here_is_not_said_to_be_seen_by_ci() -> None:
    now = seen([Check("11 policy", FAILED, "another policy is in force: ask again")], HERE)
    lines = life(document(checks=REPLAYED + now, proofs=[], missing=["another policy is in force"])).splitlines()
    by_ci, here = lines.index("seen by CI"), lines.index("seen here, not signed by CI")
    assert [line.strip()[0] for line in lines[by_ci + 1 : here - 1]] == ["✓"]
    assert lines[here + 1].strip().startswith("✗ 11 policy: another policy")
    assert "proofs    none yet" in lines
    assert "missing   another policy is in force" in lines


def test_what_could_not_be_told_is_neither() -> None:
    now = seen([Check("21 prompt", UNKNOWN, "this installation does not know the prompt fix@9")], HERE)
    lines = life(document(checks=now, proofs=[])).splitlines()
    assert "seen by CI" not in lines
    assert lines[lines.index("seen here, not signed by CI") + 1].strip().startswith("? 21 prompt: this installation")
    assert "proofs    none yet" in lines


def test_the_agent_s_words_begin_no_line_of_their_own() -> None:
    lines = life(document(checks=[])).splitlines()
    assert "seen by CI" not in lines
    assert [line for line in lines if line.startswith("proofs")] == ["proofs    signed · replayed · 2 persons"]


def test_a_merge_that_is_on_the_branch_no_more_is_said_to_be_missing() -> None:
    there = life(document(state="merged", merged_as="e" * 40)).splitlines()
    assert "merged    into main as eeeeeeeeeeee" in there
    (line,) = [line for line in life(document(state="merged")).splitlines() if line.startswith("merged")]
    assert "not among the newest of main: agent-pipeline audit verify" in line
    assert not [line for line in life(document()).splitlines() if line.startswith("merged")]
