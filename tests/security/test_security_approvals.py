"""Who wants to land something else than what was approved, or to approve himself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from support.hostile import HostileRunner, signer
from support.teams import MAIN, REQUESTS, Team

from agent_pipeline import clock
from agent_pipeline.documents import strict
from agent_pipeline.documents.approval import Approval
from agent_pipeline.documents.statement import Statement
from agent_pipeline.repository.dossier import open_dossier, read_request
from agent_pipeline.repository.records import Record
from agent_pipeline.repository.trees import Put

pytestmark = pytest.mark.containers

At = Callable[[str], Team]
POLICY = ".agent-pipeline/policy.yaml"


def recorded(team: Team) -> Record:
    clone = HostileRunner(team).clone
    team.alice.git("fetch", "-q", "origin", f"+{REQUESTS}*:refs/looked-at/*")
    return Record(team.id, clone.commit(f"refs/looked-at/{team.id}"), clone)


def not_merged(team: Team, *words: str) -> None:
    """CI merges nothing, says why, and the branch stays where it was."""
    tip = team.tip()
    code, rows = team.ci_merge(team.id)
    assert (code, rows[team.id]["merged"]) == (1, False), rows
    for word in words:
        assert word in rows[team.id]["reason"], rows[team.id]["reason"]
    assert team.tip() == tip


def test_nobody_approves_himself(at: At) -> None:
    team = at("staged")
    tree = team.found["tree"]
    done = team.alice.run("review", "approve", team.id, "--tree", tree)
    assert done.code == 1, str(done)
    team.alice.git("pull", "-q", "--ff-only", "origin", "main")
    team.alice.yes("trust", "add", "alice", "--role", "reviewer")  # she has the role root, and may
    done = team.alice.run("review", "approve", team.id, "--tree", tree)
    assert done.code == 1, str(done)
    not_merged(team, "ask again", "0 of 1 reviews")  # that version moved the branch


def test_approvals_that_are_none(at: At) -> None:
    """Each is a genuine signature by somebody of the team; all lie in the record at once."""
    team = at("staged")
    dossier, now = open_dossier(recorded(team)), clock.now()
    landed = HostileRunner(team).clone.file(dossier.proposal.base, POLICY)
    assert landed is not None
    good = Approval(
        version=1, decision="approved", repository=str(team.bare), target=MAIN, base=dossier.proposal.base,
        tree=dossier.proposal.tree, request=team.id, proposal=dossier.statement, policy=strict.sha256(landed),
        reviewer="rosa", created=clock.rfc3339(now), expires=clock.rfc3339(now + timedelta(days=1)),
    )  # fmt: skip
    manifest = strict.sha256(dossier.manifest)
    bad: dict[str, Any] = {
        "another tree": {"tree": "1" * 40},
        "another base": {"base": "1" * 40},
        "another target": {"target": "refs/heads/other"},
        "another repository": {"repository": "https://example.org/fork"},
        "another request": {"request": "a" * 16},
        "another proposal": {"proposal": "0" * 64},
        "another policy": {"policy": "0" * 64},
        "expired": {"created": "2020-01-01T00:00:00Z", "expires": "2020-01-02T00:00:00Z"},
        "of tomorrow": {"created": "2999-01-01T00:00:00Z", "expires": "2999-01-02T00:00:00Z"},
        "for ever": {"expires": clock.rfc3339(now + timedelta(days=4000))},
        "in another's name": {"reviewer": "ci"},
    }
    rosa = signer(team.rosa)
    envelopes = [rosa.statement(dataclasses.replace(good, **fields).to_statement(manifest)) for fields in bad.values()]
    envelopes.append(rosa.statement(good.to_statement("0" * 64)))  # of another manifest
    for person in (team.alice, team.ci):  # no reviewers; Alice in Rosa's name and in her own
        for name in (person.name, "rosa"):
            signed = dataclasses.replace(good, reviewer=name)
            envelopes.append(signer(person).statement(signed.to_statement(manifest)))
    another = Statement("proposal.json", manifest, "https://example.org/approval/v1", good.to_dict())
    envelopes.append(rosa.statement(another))
    team.mallory.add(
        REQUESTS + team.id,
        {f"1/attestations/approval.{number}.dsse.json": one.to_json() for number, one in enumerate(envelopes)},
    )
    not_merged(team, "0 of 1 reviews")
    shown = team.shown().document
    assert "reviewed 0/1" in shown["proofs"]
    assert shown["people"] == ["alice", "ci"]
    counts = rosa.statement(good.to_statement(manifest)).to_json()  # and the one that counts still does
    team.mallory.add(REQUESTS + team.id, {"1/attestations/approval.good.dsse.json": counts})
    code, rows = team.ci_merge(team.id)
    assert (code, rows[team.id]["merged"]) == (0, True), rows


def test_an_approval_is_of_one_proposal(at: At) -> None:
    team = at("approved")
    asked = read_request(recorded(team))[1]
    runner = HostileRunner(team)
    tip = runner.clone.commit(f"refs/looked-at/{team.id}")
    source = runner.clone.file(runner.base, "calc.py")
    tests = runner.clone.file(runner.base, "tests/test_calc.py")
    assert source is not None
    assert tests is not None
    evil = {
        "calc.py": Put(source.replace(b"/ len(values)", b"/ len(values) if values else 0.0  # and more"), "100644"),
        "tests/test_calc.py": Put(
            tests + b"\n\ndef test_mean_of_nothing():\n    assert mean([]) == 0.0\n", "100644"
        ),
    }  # fmt: skip
    runner.propose(runner.built(evil), request=asked, number=2, onto=tip)
    not_merged(team, "admits this proposal", "0 of 1 reviews")
    code, rows = team.ci_run()
    assert (code, rows[team.id]["verdict"]) == (0, "passed"), rows

    def copied(files: dict[str, Any]) -> None:
        for name, value in files["1"]["attestations"].items():
            if name.startswith(("approval.", "summary.", "test-result.")):
                files["2"]["attestations"][name] = value

    team.mallory.rewrite(REQUESTS + team.id, copied)
    not_merged(team, "0 of 1 reviews")
    done = team.rosa.run("review", "approve", team.id, "--tree", team.found["tree"])
    assert done.code == 1, str(done)
    done = team.rosa.run("review", "approve", f"{team.id}.1", "--tree", team.found["tree"])
    assert done.code == 1, str(done)
    newest = team.shown().document["tree"]
    for short in (newest[:12], newest[:39], newest.upper(), newest + "0", ""):
        done = team.rosa.run("review", "approve", team.id, "--tree", short)
        assert done.code == 1, str(done)


def test_an_approval_does_not_outlive_its_base_or_its_policy(at: At) -> None:
    team = at("approved")
    team.alice.git("pull", "-q", "--ff-only", "origin", "main")
    before = team.tip()
    team.alice.git("commit", "-q", "--allow-empty", "-m", "Something else")
    team.alice.git("push", "-q", "origin", "main")
    not_merged(team, "ask again")
    team.alice.git("push", "-q", "--force", "origin", f"{before}:main")  # whoever may do that may do anything
    path = team.alice.clone / POLICY
    path.write_text(path.read_text().replace("reviewers: 1", "reviewers: 0").replace("persons: 3", "persons: 1"))
    team.alice.git("commit", "-q", "-am", "Weaker rules")
    team.alice.git("push", "-q", "--force", "origin", "HEAD:refs/heads/weaker")
    team.alice.git("push", "-q", "origin", "HEAD:main", "--force")
    not_merged(team, "the run was made under policy")
