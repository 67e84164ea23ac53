"""What changes after CI looked is shown as what it is: found here, just now, and signed by nobody."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.teams import Team

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
