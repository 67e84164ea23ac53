"""A trust root by somebody who may not, rules that are none, a clone that is addressed as another repository."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from support.hostile import signer
from support.people import Person
from support.teams import LOG, REQUESTS, Team

from agent_pipeline import clock
from agent_pipeline.attestation import drafts
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.root import PAYLOAD_TYPE, TrustRoot
from agent_pipeline.repository.trust_files import file_name

pytestmark = pytest.mark.containers

At = Callable[[str], Team]


def pushed(team: Team, person: Person, name: str, data: bytes) -> None:
    """Push a file to the protected branch, as somebody whom the forge lets."""
    person.git("fetch", "-q", "origin")
    person.git("checkout", "-q", "-B", "main", "origin/main")
    path = person.clone / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    person.git("add", "-A")
    person.git("commit", "-q", "-m", "A change of the rules")
    person.git("push", "-q", "origin", "main")
    del team


def test_a_trust_root_by_who_may_not_is_refused_by_everybody(at: At) -> None:
    team = at("approved")
    folder = team.rosa.clone / ".agent-pipeline" / "trust"
    team.rosa.git("pull", "-q", "--ff-only", "origin", "main")
    newest = max(folder.iterdir(), key=lambda path: int(path.name.split(".")[0]))
    root = TrustRoot.from_json(Envelope.from_json(newest.read_bytes().strip()).payload)
    rosa = signer(team.rosa)
    owned = drafts.add(root, "rosa", None, ("root", "ci", "merger", "runner"), expires=clock.now() + timedelta(days=9))
    tip = team.tip()
    pushed(team, team.rosa, file_name(4, rosa.public().keyid), rosa.envelope(PAYLOAD_TYPE, owned.to_json()).to_json())
    for person, argv in (
        (team.ci, ("ci", "run")), (team.ci, ("ci", "merge")), (team.alice, ("list",)), (team.rosa, ("review", "list")),
        (team.rosa, ("trust", "show")),
    ):  # fmt: skip
        done = person.run(*argv)
        assert done.code == 1, str(done)
        assert "role root" in done.err or "nobody signed" in done.err, done.err
    team.rosa.git("push", "-q", "--force", "origin", f"{tip}:main")
    later = dataclasses.replace(root, version=root.version + 2)  # skips one
    alice = signer(team.alice)
    pushed(team, team.rosa, file_name(5, alice.public().keyid), alice.envelope(PAYLOAD_TYPE, later.to_json()).to_json())
    done = team.ci.run("ci", "merge")
    assert done.code == 1, str(done)
    assert "missing" in done.err


def test_rules_that_cannot_be_read_are_no_rules(at: At) -> None:
    team = at("approved")
    for data in (
        b"",
        b"version: 1\n",
        b"a: &a [*a]\n",
        b"landing: {reviewers: 0, reviewers: 0}\n",
        b"\xff",
        b"[" * 9999,
    ):
        tip = team.tip()
        pushed(team, team.rosa, ".agent-pipeline/policy.yaml", data)
        done = team.ci.run("ci", "merge", "--json")
        assert done.code in (1, 2), str(done)
        assert "policy" in json.loads(done.out)["error"]["message"]
        team.rosa.git("push", "-q", "--force", "origin", f"{tip}:main")


def elsewhere(team: Team, kind: str) -> str:
    """Address CI's clone otherwise than the trust root does; Git gets to the same repository all the same."""
    link = team.top / "link.git"
    link.symlink_to(team.bare)
    if kind == "an alias of SSH's":
        team.ci.git("config", f"url.{team.bare}.insteadOf", "git@work:app.git")
    address = {"a link": str(link), "an alias of SSH's": "git@work:app.git"}[kind]
    team.ci.git("remote", "set-url", "origin", address)
    return address


@pytest.mark.parametrize("kind", ["a link", "an alias of SSH's"])
def test_a_clone_with_another_address_judges_nothing_and_is_told_so(at: At, kind: str) -> None:
    team = at("proposed")
    root = team.alice.yes("trust", "show")["root"]
    record = team.tip(REQUESTS + team.id)
    address = elsewhere(team, kind)
    pinned = team.ci.run("trust", "pin", root, "--json")
    commands = (("ci", "run"), ("ci", "run", team.id), ("ci", "replay", team.id, "--out", "x.json"), ("ci", "merge"))
    for done in (pinned, *(team.ci.run(*argv, "--json", AGENT_PIPELINE_ROOT=root) for argv in commands)):
        assert done.code == 2, str(done)
        said = done.document["error"]
        assert "addressed as another repository" in said["message"]
        assert address in said["message"]
        assert f"git remote set-url origin {team.bare}" in said["hint"]
    assert (team.tip(LOG), team.tip(REQUESTS + team.id)) == (None, record)
    assert not [pin for pin in team.ci.home.rglob("pins.json") if address in pin.read_text()]

    team.ci.git("remote", "set-url", "origin", str(team.bare))  # as the hint says
    if kind == "a link":
        team.ci.git("config", f"url.{team.top / 'link.git'}.insteadOf", str(team.bare))
    code, rows = team.ci_run()
    assert (code, rows[team.id]["verdict"]) == (0, "passed"), rows


def test_another_spelling_of_the_same_path_is_no_other_address(at: At) -> None:
    team = at("proposed")
    team.ci.git("remote", "set-url", "origin", f"{team.top}/ci//../origin.git/")
    root = team.alice.yes("trust", "show")["root"]
    team.ci.yes("trust", "pin", root)
    code, rows = team.ci_run()
    assert (code, rows[team.id]["verdict"]) == (0, "passed"), rows
