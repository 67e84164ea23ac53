"""CI does not say yes to what it did not do: what it could not log, read or find, it says, in one line each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
from support.teams import LOG, REQUESTS, Team

pytestmark = pytest.mark.containers

At = Callable[[str], Team]
SHOUT = "::error::everything is on fire"


def hook(team: Team, script: str) -> None:
    path = team.bare / "hooks" / "update"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("stage", ["staged", "approved"])
def test_a_rejection_that_could_not_be_logged_is_no_quiet_yes(at: At, stage: str) -> None:
    team = at(stage)
    team.rosa.yes("review", "reject", team.id, "--reason", "on second thoughts, no")
    hook(team, f'[ "$1" != {LOG} ]')
    tip = team.tip()
    for names in ((), (team.id,)):
        code, rows = team.ci_run(*names)
        assert (code, list(rows), rows[team.id]["verdict"]) == (3, [team.id], "unknown")
        assert "it was rejected, which could not be put into the log" in rows[team.id]["checks"][0]["reason"]
        code, rows = team.ci_merge(*names)
        assert (code, list(rows), rows[team.id]["merged"], rows[team.id]["waiting"]) == (3, [team.id], False, False)
        assert "could not be put into the log" in rows[team.id]["reason"]
    said = team.ci.run("ci", "run")
    assert (said.code, "unknown" in said.out, "nothing waits" in said.out) == (3, True, False), str(said)
    assert team.tip() == tip
    (team.bare / "hooks" / "update").unlink()
    assert team.ci_run() == (0, {})
    assert team.shown().document["state"] == "rejected"


def test_a_rejection_is_logged_though_the_log_moved_meanwhile(at: At) -> None:
    """Another run of CI takes its turn between the look and the push: here it logs the same."""
    team = at("staged")
    before = team.mallory.ref(LOG)
    team.rosa.yes("review", "reject", team.id, "--reason", "on second thoughts, no")
    mine = team.ci.clone.parent
    shutil.copytree(mine, team.top / "kept", symlinks=True)
    assert team.ci_run() == (0, {})
    team.mallory.fetch()
    theirs = team.mallory.ref(LOG)
    assert theirs != before
    shutil.rmtree(mine)
    (team.top / "kept").rename(mine)
    team.mallory.push("refs/heads/keep", theirs)
    team.mallory.push(LOG, before)
    hook(team, f'[ "$1" != {LOG} ] || [ -e moved ] || {{ touch moved; git update-ref {LOG} {theirs}; }}')
    done = team.ci.run("ci", "run", "--json")
    assert (done.code, done.document["results"]) == (0, []), str(done)
    assert (team.bare / "moved").exists()
    assert team.tip(LOG) == theirs
    assert team.shown().document["state"] == "rejected"


def test_a_record_that_cannot_be_read_is_not_nothing(at: At) -> None:
    team = at("staged")
    team.mallory.rewrite(REQUESTS + team.id, lambda files: files.update({"request.dsse.json": b"{}"}))
    code, rows = team.ci_run()
    assert (code, rows[team.id]["verdict"]) == (3, "unknown")
    assert "its record cannot be read" in rows[team.id]["checks"][0]["reason"]
    assert team.ci_merge() == (0, {})  # whoever may push adds such records: they keep no merge from its yes


def test_a_number_that_is_not_the_newest_is_not_acted_on(at: At) -> None:
    team = at("approved")
    tip, log = team.tip(), team.tip(LOG)
    other = f"{team.id}.99"
    commands: tuple[tuple[str, ...], ...] = (("ci", "run"), ("ci", "merge"), ("ci", "stage"), ("land",))
    for command in commands:
        done = team.ci.run(*command, other, "--json")
        assert done.code == 2, str(done)
        error: dict[str, Any] = done.document["error"]
        assert f"{other} is not it: the newest is {team.id}.1" in error["message"]
        assert error["hint"] == f"agent-pipeline {' '.join(command)} {team.id}"
    done = team.ci.run("ci", "replay", other, "--out", "results.json", "--json")
    assert done.code == 2, str(done)
    assert f"{team.id}.1" in str(done.document["error"])
    assert not (team.ci.clone / "results.json").exists()
    assert (team.tip(), team.tip(LOG)) == (tip, log)
    code, rows = team.ci_merge(f"{team.id}.1")
    assert (code, rows[team.id]["merged"]) == (0, True)


def test_nobodys_words_begin_a_line_of_what_ci_says(at: At) -> None:
    team = at("staged")
    team.rosa.yes("review", "reject", team.id, "--reason", f"no\n{SHOUT}\r{SHOUT}\u2028{SHOUT}\tx\x1b[2J")
    merged = team.ci.run("ci", "merge", team.id)
    for done in (
        merged,
        team.ci.run("ci", "run", team.id),
        team.ci.run("log", team.id),
        team.ci.run("audit", "tail"),
        team.ci.run("audit", "verify"),
        team.ci.run("land", team.id),
        team.rosa.run("show", team.id),
    ):
        lines = (done.out + done.err).splitlines()
        assert [line for line in lines if line.lstrip().startswith("::")] == [], str(done)
        assert "\x1b" not in done.out + done.err
    assert any("was rejected: by rosa: no" in line and SHOUT in line for line in merged.err.splitlines()), str(merged)
