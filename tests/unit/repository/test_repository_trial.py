"""Rules on trial: no host protects the set-up branch, so they count only as somebody signed them who may set rules."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.carried import Carried, carried, commit_of
from support.trust import TEAM, root_of

from agent_pipeline.errors import SignatureError
from agent_pipeline.repository.refs import RefUpdate, update

SETUP = "refs/heads/agent-pipeline-setup"
POLICY = ".agent-pipeline/policy.yaml"
OTHER = b"# nobody who may set rules wrote this line\n"
ROOT = root_of({**TEAM, "pia": ("policy",)})


@pytest.fixture
def trial(tmp_path: Path) -> Carried:
    return carried(tmp_path / "project", "proposed", trial=True, root=ROOT)


def push(trial: Carried, signer: str | None) -> str:
    """Somebody who may push puts other rules on the set-up branch."""
    old = trial.clone.ref(SETUP)
    assert old is not None
    rules = trial.clone.file(old, POLICY)
    assert rules is not None
    new = commit_of(trial.clone, old, {POLICY: OTHER + rules}, signer)
    update(trial.clone, [RefUpdate(SETUP, old, new)])
    return new


def test_rules_that_init_signed_are_taken(trial: Carried) -> None:
    assert trial.desk.landed.trial


@pytest.mark.parametrize("signer", ["ada", "pia"])
def test_who_may_set_rules_changes_them(trial: Carried, signer: str) -> None:
    new = push(trial, signer)
    landed = trial.desk.landed
    assert (landed.commit, landed.policy_bytes.startswith(OTHER)) == (new, True)


@pytest.mark.parametrize(
    ("signer", "why"),
    [(None, "are not signed"), ("eve", "is nobody's"), ("rita", "is no root or policy"), ("robot", "is no root or")],
)
def test_nobody_else_does(trial: Carried, signer: str | None, why: str) -> None:
    new = push(trial, signer)
    with pytest.raises(SignatureError, match=why) as told:
        assert trial.desk
    assert new[:12] in told.value.message
    assert "put the branch back" in str(told.value.hint)


def test_a_signature_for_another_tree_is_none(trial: Carried) -> None:
    """The signature of the real set-up, put onto a commit of other rules."""
    old = trial.clone.ref(SETUP)
    assert old is not None
    evil = commit_of(trial.clone, old, {POLICY: OTHER}, None)
    real, forged = (trial.project.git("cat-file", "commit", commit) for commit in (old, evil))
    header = real[real.index("gpgsig ") : real.index("\n\n")]
    forged = forged.replace("\n\n", f"\n{header}\n\n", 1)
    file = trial.project.folder / "forged"
    file.write_text(forged)
    new = trial.project.git("hash-object", "-w", "-t", "commit", str(file)).strip()
    update(trial.clone, [RefUpdate(SETUP, old, new)])
    with pytest.raises(SignatureError, match="not one by key"):
        assert trial.desk
