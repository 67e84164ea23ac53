"""What changes after CI looked is shown as what it is: found here, just now, and signed by nobody."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.teams import REQUESTS, Team

pytestmark = pytest.mark.containers


def test_a_step_that_fails_since_is_not_ci_s_word(at: Callable[[str], Team]) -> None:
    team = at("staged")
    before = team.shown().document
    assert {check["seen_by"] for check in before["checks"]} == {"ci"}
    assert "replayed" in before["proofs"]
    policy = team.alice.clone / ".agent-pipeline" / "policy.yaml"
    policy.write_text(policy.read_text() + "# a word more\n")
    team.alice.git("commit", "-q", "-am", "Another policy")
    team.alice.git("push", "-q", "origin", "HEAD:main")
    after = team.shown().document
    assert [check for check in after["checks"] if check["seen_by"] == "ci"] == before["checks"]
    here = [check for check in after["checks"] if check["seen_by"] == "here"]
    assert [check["name"] for check in here] == ["11 policy"]
    assert {check["outcome"] for check in here} == {"failed"}
    assert after["proofs"] == []
    text = team.rosa.run("show", team.id).out
    assert text.index("asserted by the runner") < text.index("seen by CI") < text.index("seen here, not signed by CI")
    assert "proofs    none yet" in text


@pytest.mark.parametrize(
    ("stage", "path"),
    [
        ("proposed", "proposal.json"),
        ("proposed", "transcript.jsonl"),
        ("merged", "proposal.json"),
        ("merged", "transcript.jsonl"),
        ("merged", ""),  # all of it: only the log knows that there was a proposal
    ],
)
def test_what_somebody_took_out_of_a_record_is_named_and_what_to_do(
    at: Callable[[str], Team], stage: str, path: str
) -> None:
    team = at(stage)
    team.mallory.rewrite(REQUESTS + team.id, lambda files: files["1"].pop(path) if path else files.pop("1"))
    for name in (team.id, f"{team.id}.1"):
        done = team.rosa.run("show", name, "--json")
        assert done.code == 1, str(done)
        error = done.document["error"]
        assert f"lacks 1/{path or 'proposal.json'}" in error["message"]
        for word in ("fetch", "another clone", "audit verify", "agent-pipeline request"):
            assert word in error["hint"]
        assert "agent-pipeline show" not in error["hint"]


def test_a_number_that_there_is_not_is_answered_with_those_that_there_are(at: Callable[[str], Team]) -> None:
    team = at("proposed")
    done = team.rosa.run("show", f"{team.id}.7", "--json")
    assert done.code == 2
    assert done.document["error"]["hint"] == f"these are there: {team.id}.1"
