"""Three parties with three clones, keys and homes around one bare repository: nobody is trusted alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from support.people import Person, ask, project

pytestmark = pytest.mark.containers


@dataclass
class Team:
    """Alice asks, Ci runs CI, Rosa reviews."""

    alice: Person
    ci: Person
    rosa: Person
    bare: Path

    def tip(self, ref: str = "refs/heads/main") -> str:
        return self.alice.git("ls-remote", str(self.bare), ref).split()[0]


@pytest.fixture
def team(tmp_path: Path) -> Team:
    bare = tmp_path / "origin.git"
    people = [Person(name, tmp_path / name / "home", tmp_path / name / "clone") for name in ("alice", "ci", "rosa")]
    alice, ci, rosa = people
    project(alice)
    alice.git("init", "-q", "--bare", "-b", "main", str(bare))
    alice.git("remote", "add", "origin", str(bare))
    alice.git("push", "-q", "origin", "main")
    root = alice.yes("init")["root"]
    compared = {}
    for person in (ci, rosa):
        person.git("clone", "-q", str(bare), str(person.clone), cwd=person.home)
        offered = person.yes("join")
        compared[person.name] = offered["fingerprint"]
        shown = alice.yes("trust", "show")
        assert {"name": person.name, "fingerprint": offered["fingerprint"]} in shown["offers"]
    alice.yes("trust", "add", "ci", "--role", "ci", "--role", "merger", "--fingerprint", compared["ci"])
    alice.yes("trust", "add", "rosa", "--role", "reviewer", "--fingerprint", compared["rosa"])
    for person in (ci, rosa):
        assert person.yes("trust", "pin", root)["root"] == root
    alice.git("pull", "-q", "--ff-only", "origin", "main")
    policy = alice.clone / ".agent-pipeline" / "policy.yaml"
    text = policy.read_text()
    policy.write_text(text.replace("reviewers: 0", "reviewers: 1").replace("persons: 1", "persons: 3"))
    alice.git("commit", "-q", "-am", "Three persons, one reviewer")
    alice.git("push", "-q", "origin", "main")
    return Team(alice, ci, rosa, bare)


@pytest.mark.parametrize("backend", ["docker", "bubblewrap"])
def test_three_parties_land_one_fix(team: Team, backend: str) -> None:
    asked = ask(team.alice, backend)
    assert asked.code == 0, str(asked)
    found = asked.document
    before = team.tip()

    assert found["state"] == "proposed"
    ran = team.ci.yes("ci", "run")
    assert [row["verdict"] for row in ran["results"]] == ["passed"]
    assert team.ci.yes("ci", "run")["results"] == []
    waiting = team.alice.run("land", found["id"], "--json")
    assert waiting.code == 1
    assert "rosa" in waiting.document["next"]
    assert team.tip() == before

    self_approved = team.alice.run("review", "approve", found["id"], "--tree", found["tree"])
    assert self_approved.code == 1

    listed = team.rosa.yes("review", "list")["waiting"]
    assert [row["tree"] for row in listed] == [found["tree"]]
    wrong = team.rosa.run("review", "approve", found["id"], "--tree", "0" * 40)
    assert wrong.code == 1
    team.rosa.yes("review", "approve", found["id"], "--tree", found["tree"])

    merged = team.ci.yes("ci", "merge")["results"]
    assert merged[0]["merged"], merged
    assert merged[0]["old"] == before
    assert team.tip() == merged[0]["new"]
    shown = team.rosa.yes("show", found["id"])
    assert shown["state"] == "merged"
    assert set(shown["proofs"]) >= {"signed", "replayed", "regression", "reviewed 1/1", "3 persons"}
    assert (shown["persons"], shown["people"]) == (3, ["alice", "ci", "rosa"])
    again = team.ci.yes("ci", "merge")
    assert again["results"] == []


def test_a_rejection_keeps_it_from_landing(team: Team) -> None:
    found = ask(team.alice, "bubblewrap").document
    team.ci.yes("ci", "run")
    team.rosa.yes("review", "reject", found["id"], "--reason", "0.0 hides the mistake")
    done = team.ci.run("ci", "merge", found["id"], "--json")
    assert done.code == 1
    assert "0.0 hides the mistake" in done.document["results"][0]["reason"]


def test_who_rejected_may_think_better_of_it(team: Team) -> None:
    found = ask(team.alice, "bubblewrap").document
    team.ci.yes("ci", "run")
    approve = ("review", "approve", found["id"], "--tree", found["tree"], "--json")
    rejected = team.rosa.yes("review", "reject", found["id"], "--reason", "0.0 hides the mistake")
    assert "unless who rejected it thinks better of it: agent-pipeline review approve" in rejected["next"]
    assert "was rejected: by rosa: 0.0 hides the mistake" in team.ci.run("ci", "run").err
    assert team.rosa.yes("show", found["id"])["state"] == "rejected"
    team.rosa.yes("review", "reject", found["id"], "--reason", "and I mean it")
    landed = team.ci.run("land", found["id"], "--json")
    assert (landed.code, "thinks better of it" in landed.document["error"]["hint"]) == (1, True), str(landed)
    for other in (team.alice, team.ci):  # it is not theirs to take back
        assert other.run(*approve).code == 1
    taken_back = team.rosa.run(*approve)
    assert taken_back.code == 0, str(taken_back)
    assert taken_back.document["next"] == f"ci: agent-pipeline ci run {found['id']}"
    assert team.alice.run("land", found["id"], "--json").code == 1  # nor is it hers to put into the log
    said = team.ci.run("ci", "run").err
    assert said.index("rejected: by rosa: and I mean it") < said.index("was approved: by rosa")
    assert team.ci.run("ci", "run").err.count("log:") == 0
    assert team.rosa.yes("show", found["id"])["state"] == "staged"
    assert team.ci.yes("audit", "verify")["findings"] == []
    assert team.ci.yes("ci", "merge")["results"][0]["merged"]
    assert [row["event"] for row in team.ci.yes("audit", "tail")["entries"]] == [
        "admitted", "rejected", "rejected", "approved", "merged",
    ]  # fmt: skip
    assert team.ci.yes("audit", "verify")["findings"] == []


def test_a_rejection_that_nobody_logged_before_it_was_taken_back(team: Team) -> None:
    """Alice lands, where that falls to her alone, and puts both into the log before."""
    policy = team.alice.clone / ".agent-pipeline" / "policy.yaml"
    policy.write_text(policy.read_text().replace("persons: 3", "persons: 2"))
    team.alice.git("commit", "-q", "-am", "Two persons")
    team.alice.git("push", "-q", "origin", "main")
    team.alice.yes("trust", "remove", "ci")
    team.alice.git("pull", "-q", "--ff-only", "origin", "main")
    found = ask(team.alice, "bubblewrap").document
    assert found["state"] == "staged"
    team.rosa.yes("review", "reject", found["id"], "--reason", "0.0 hides the mistake")
    team.rosa.yes("review", "approve", found["id"], "--tree", found["tree"])
    done = team.alice.run("land", found["id"], "--json")
    assert (done.code, done.document.get("state")) == (0, "merged"), str(done)
    events = [row["event"] for row in team.alice.yes("audit", "tail")["entries"]]
    assert events[-4:] == ["admitted", "rejected", "approved", "merged"]


def test_replay_and_stage_are_two_jobs(team: Team, tmp_path: Path) -> None:
    found = ask(team.alice, "bubblewrap").document
    results = tmp_path / "results.json"
    no_key = Person("runner", tmp_path / "nokey", tmp_path / "nokey-clone")
    no_key.git("clone", "-q", str(team.bare), str(no_key.clone), cwd=no_key.home)
    root = team.alice.yes("trust", "show")["root"]
    replayed = no_key.yes("ci", "replay", found["id"], "--out", str(results), AGENT_PIPELINE_ROOT=root)
    assert replayed["verdict"] == "passed"
    staged = team.ci.yes("ci", "stage", found["id"], "--results", str(results))
    assert staged["results"][0]["verdict"] == "passed"
    assert team.ci.yes("show", found["id"])["state"] == "staged"
