"""What a stolen key signed is listed whatever somebody took away, and what its revocation opens again is said."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.hostile import HostileRunner, stolen
from support.people import Person
from support.teams import LOG, REQUESTS, Team

from agent_pipeline.repository.trees import Put

pytestmark = pytest.mark.containers

At = Callable[[str], Team]
ATTESTATIONS = "refs/attestations/trees"
CI_SIGNED = ["merge", "summary", "test result"]


def operator(team: Team) -> Person:
    """Alice in a clone that has seen nothing yet."""
    clone = team.top / "fresh"
    shutil.rmtree(clone, ignore_errors=True)
    team.alice.git("clone", "-q", str(team.bare), str(clone), cwd=team.alice.home)
    return replace(team.alice, clone=clone)


def listed(team: Team, person: Person | None = None) -> dict[str, Any]:
    """What revoking CI's key would list."""
    said: dict[str, Any] = (person or operator(team)).yes(*revoke(team))
    for row in said["proposals"]:
        row["signed"].sort(key=lambda mark: mark["what"])
    return {name: said[name] for name in ("proposals", "entries", "unread")}


def revoke(team: Team) -> tuple[str, ...]:
    (key,) = [one["keys"][0] for one in team.alice.yes("trust", "show")["people"] if one["name"] == "ci"]
    return ("trust", "revoke", str(key), "--since", "0", "--dry-run")


def signed(said: dict[str, Any]) -> list[str]:
    (row,) = said["proposals"]
    return [mark["what"] for mark in row["signed"]]


def without_the_summary(team: Team) -> None:
    """Mallory writes the record anew without CI's summary, as if it had never been there."""
    team.mallory.fetch()
    files = team.mallory.files(REQUESTS + team.id)
    folder = files["1"]["attestations"]
    for name in [name for name in folder if name.startswith("summary.")]:
        del folder[name]
    team.mallory.push(REQUESTS + team.id, team.mallory.commit(team.mallory.tree(files)))


def test_a_merge_is_listed_whatever_became_of_its_record(at: At) -> None:
    team = at("merged")
    whole = listed(team)
    assert (signed(whole), whole["unread"]) == (CI_SIGNED, [])
    assert whole["proposals"][0]["command"] == f"git revert -m 1 {team.tip()}"
    record, kept = team.mallory.ref(REQUESTS + team.id), team.mallory.ref(ATTESTATIONS)
    without_the_summary(team)
    assert listed(team) == whole
    team.mallory.delete(REQUESTS + team.id)
    assert listed(team) == whole
    team.mallory.delete(ATTESTATIONS)
    nothing = listed(team)
    assert nothing["proposals"] == []
    assert [row["name"] for row in nothing["unread"]] == [f"{team.id}.1"] * 2
    assert [row["index"] for row in nothing["entries"]] == [0, 1]
    told = operator(team).run(*revoke(team)).err
    assert "not looked through (2)" in told
    assert f"{team.id}.1: 4 envelopes that entry 0 of the log (admitted) names: nowhere any more" in told
    team.mallory.push(REQUESTS + team.id, record)
    assert listed(team) == whole
    team.mallory.push(ATTESTATIONS, kept)


def test_an_envelope_that_was_taken_out_before_the_merge_is_missed_by_name(at: At) -> None:
    team = at("approved")
    whole = listed(team, team.alice)
    assert signed(whole) == ["summary", "test result"]
    assert whole["proposals"][0]["becomes"] == "proposed"
    without_the_summary(team)
    fewer = listed(team)
    assert signed(fewer) == ["test result"]
    (row,) = fewer["unread"]
    assert row["name"] == f"{team.id}.1"
    assert "1 envelope that entry 0 of the log (admitted) names" in row["why"]
    again = listed(team, team.alice)  # her clone has seen it
    assert (signed(again), again["unread"]) == (["summary", "test result"], [])
    team.mallory.delete(REQUESTS + team.id)
    assert listed(team, team.alice)["unread"] == []


def test_what_is_open_again_when_ci_s_own_rejection_is_void_is_said(at: At) -> None:
    team = at("ready")
    runner = HostileRunner(team)
    request = runner.propose(runner.built({"calc.py": Put(b"x = 1\n", "100644")}), facts={"policy": "0" * 64})
    code, rows = team.ci_run()
    assert (code, rows[request]["verdict"]) == (1, "failed")
    assert team.tip(LOG) is not None
    said = listed(team)
    (row,) = said["proposals"]
    assert (row["name"], row["state"], row["becomes"]) == (f"{request}.1", "rejected", "proposed")
    assert row["command"] == f"agent-pipeline close {request}"
    told = operator(team).run(*revoke(team)).err
    said_so = "open again then (proposed): the entry by which it was rejected is void, and CI's next run judges it anew"
    assert said_so in told
    assert f"to take it back: agent-pipeline close {request}" in told
    team.alice.yes(*revoke(team)[:-1])
    assert team.alice.yes("show", request)["state"] == "proposed"


LIES: dict[str, dict[str, Any]] = {
    "about the trust root": {"event": "admitted", "root": 999},
    "about the entries before it": {"event": "admitted", "history": "1" * 64},
    "about what the log says": {"event": "admitted", "state": "1" * 64},
    "about everything, and about what the log says": {
        "event": "resumed", "state": "1" * 64, "request": None, "number": None, "statement": None,
    },
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_key_that_lies_can_be_revoked_and_who_believed_it_goes_on(at: At, lie: str) -> None:
    """The lie is the newest entry: nobody can read the log to the end by it, and the way out must not need that."""
    team = at("staged")
    rosa = replace(team.rosa, clone=operator(team).clone)
    seen = team.rosa.run("list", "--json")  # an older clone, before the lie
    assert seen.code == 0, str(seen)
    fields = dict(LIES[lie])
    head = stolen(team, team.mallory.ref(LOG), fields.pop("event"), **fields)
    assert (rosa.run("list", "--json").code == 0) == ("history" in fields)  # others are found out at once
    alice = operator(team)
    (key,) = [one["keys"][0] for one in alice.yes("trust", "show")["people"] if one["name"] == "ci"]
    looked = alice.yes("trust", "revoke", key, "--since", "1", "--dry-run")
    assert [(row["index"], row["void"]) for row in looked["entries"]] == [(0, False), (1, True)]
    done = alice.yes("trust", "revoke", key, "--since", "1")
    assert (done["landed"], done["logged"]) == (True, 2)
    team.mallory.fetch()
    assert team.mallory.git("rev-parse", f"{team.tip(LOG)}^").strip() == head  # nothing was taken out
    for person in (rosa, team.rosa, operator(team)):
        listed_now = person.run("list", "--json")
        assert listed_now.code == 0, str(listed_now)
        audit = person.yes("audit", "verify")
        assert (audit["findings"], audit["entries"], audit["void"]) == ([], 3, 1)
    rosa.yes("list")
    team.mallory.push(LOG, head)  # and whoever takes the revocation away is found out
    assert "was rewound or replaced" in rosa.run("list", "--json").document["error"]["message"]


def test_a_thief_s_merge_at_the_log_s_end_is_listed_before_it_is_void(at: At) -> None:
    team = at("staged")
    stolen(team, team.mallory.ref(LOG), "merged", history="1" * 64)
    (row,) = [row for row in listed_since(team, "1")["proposals"] if row["name"] == f"{team.id}.1"]
    assert (row["state"], row["becomes"]) == ("merged", None)


def listed_since(team: Team, since: str) -> dict[str, Any]:
    argv = [*revoke(team)]
    argv[argv.index("--since") + 1] = since
    return dict(operator(team).yes(*argv))
