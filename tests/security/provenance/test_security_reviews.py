"""Attacks 49 to 51: approvals of something else. (Who may approve, 52 to 55: `test_security_trust.py`.)"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.courts import failed, refused
from support.hostile import HostileRunner
from support.teams import Team
from support.trust import Maker, sign

from agent_pipeline import clock
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.statement import Statement
from agent_pipeline.repository import commits
from agent_pipeline.repository.trees import Put
from agent_pipeline.verify import decide

At = Callable[[str], Team]
EVIL = b"def mean(values):\n    return 0.0 if not values else sum(values) / len(values) + 1e-9\n"
OTHER, OTHER_ID = "f" * 64, "a" * 40
ELSEWHERE = "https://git.example.org/evil/app"


def approving(**fields: Any) -> Maker:
    return Maker(approval_change=lambda approval: replace(approval, **fields))


@pytest.mark.parametrize(
    ("field", "value"), [("base", OTHER_ID), ("tree", OTHER_ID), ("target", "refs/heads/release"), ("proposal", OTHER)]
)
def test_049_an_approval_of_another_base_tree_or_target(field: str, value: str) -> None:
    refused(decide(approving(**{field: value}).landing()), "38 reviews", f"the {field} is not the same")


def test_049_an_approval_under_another_manifest() -> None:
    """Good in every field, and signed as a statement about something else."""
    maker = Maker(reviewers=())
    approval = Maker().approval("rita")
    assert decide(added(maker, approval)).verdict == "passed"
    statement = Statement.from_json(Envelope.from_json(approval).payload)
    refused(decide(added(maker, sign(replace(statement, sha256=OTHER), "rita"))), "38 reviews", "0 of 1")


def added(maker: Maker, approval: bytes) -> Any:
    landing = maker.landing()
    return replace(landing, attestations=(*landing.attestations, approval))


def test_050_an_approval_in_another_repository() -> None:
    refused(decide(approving(repository=ELSEWHERE).landing()), "38 reviews", "the repository is not the same")
    there = Maker(
        request_change=lambda request: replace(request, repository=ELSEWHERE),
        approval_change=lambda approval: replace(approval, repository=ELSEWHERE),
    )
    found = failed(decide(added(Maker(reviewers=()), there.approval("rita"))))
    assert "0 of 1" in found["reviews"], found


MOVED = {
    "evil": "no signed commit",
    "signed, and evil": "the staged tree is",
    "gone": "no signed commit",
    "unsigned": "no signed commit",
    "of another request": "the staged commit is that of another proposal",
}


@pytest.mark.containers
@pytest.mark.parametrize("how", MOVED)
def test_051_a_branch_that_moved_after_the_approval(at: At, how: str) -> None:
    team = at("approved")
    branch, tip = f"refs/heads/agent/{team.id}", team.tip()
    staged = team.mallory.ref(branch)
    if how == "gone":
        team.mallory.delete(branch)
    elif how == "evil":
        files = team.mallory.files(branch)
        files["calc.py"] = EVIL
        team.mallory.push(branch, team.mallory.commit(team.mallory.tree(files), staged))
    elif how == "signed, and evil":  # by Alice, who has every role
        runner = HostileRunner(team)
        tree = runner.built({"calc.py": Put(EVIL, "100644")})
        draft = commits.draft(runner.clone, tree, [runner.base], "agent change\n", "ci", "ci@example.org", clock.now())
        oid = commits.write(runner.clone, draft, runner.signer.commit(draft))
        team.alice.git("push", "-q", "--force", "origin", f"{oid}:{branch}")
    elif how == "unsigned":
        tree = team.mallory.git("rev-parse", f"{staged}^{{tree}}")
        team.mallory.push(branch, team.mallory.commit(tree, team.mallory.ref(f"{staged}^")))
    else:
        same = HostileRunner(team).propose(team.found["tree"])
        assert team.ci_run(same)[0] == 0
        team.mallory.fetch()
        team.mallory.push(branch, team.mallory.ref(f"refs/heads/agent/{same}"))
    for named in ((team.id,), ()):  # without ID, what waits for a person is no failure; this waits for nobody
        code, rows = team.ci_merge(*named)
        assert (code, rows[team.id]["merged"], rows[team.id]["waiting"]) == (1, False, False), rows
    assert MOVED[how] in rows[team.id]["reason"], rows
    assert team.tip() == tip


def test_051_the_step_that_looks_at_the_branch() -> None:
    given = Maker().landing()
    assert given.staged is not None
    payload, armored = given.staged
    evil = Maker().staged(tree=OTHER_ID)
    for staged, word in (
        (None, MOVED["gone"]),
        (evil, MOVED["signed, and evil"]),
        (Maker().staged(statement=OTHER), MOVED["of another request"]),
        ((payload, ""), "no armored SSH signature"),
        ((evil[0], armored), "not one by key"),
    ):
        refused(decide(replace(given, staged=staged)), "35 staged", word, alone=True)
