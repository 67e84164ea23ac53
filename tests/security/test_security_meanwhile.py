"""Between a decision and what is done by it: what moves then, whoever moves it, is not overtaken (threats T20, T26)."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.people import Done, ask
from support.teams import MAIN, Team

pytestmark = pytest.mark.containers

At = Callable[[str], Team]
RECORD = "refs/agent-pipeline/requests/"
# CI's program, which waits before it goes on from `name` in `module` until somebody says so.
PAUSED = """
import importlib, pathlib, time
from agent_pipeline.cli.main import main
module = importlib.import_module("agent_pipeline.{module}")
before = module.{name}
def paused(*args, **options):
    {asked}.touch()
    end = time.monotonic() + 120
    while not {told}.exists() and time.monotonic() < end:
        time.sleep(0.02)
    return before(*args, **options)
module.{name} = paused
main()
"""


@contextmanager
def paused(team: Team, folder: Path, module: str, name: str, *argv: str) -> Iterator[list[Done]]:
    """Run a command of CI's, and what is in the block while it stands before `name`; its end is in the list then."""
    asked, told, ended = folder / "asked", folder / "told", list[Done]()
    paths = {"asked": f"pathlib.Path({str(asked)!r})", "told": f"pathlib.Path({str(told)!r})"}
    command = [sys.executable, "-P", "-c", PAUSED.format(module=module, name=name, **paths), *argv, "--json"]
    with subprocess.Popen(
        command, cwd=team.ci.clone, env=team.ci.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            end = time.monotonic() + 120
            while not asked.exists():
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < end
                time.sleep(0.02)
            yield ended
            told.touch()
            out, err = process.communicate(timeout=300)
            ended.append(Done(argv, process.returncode, out, err))
        finally:
            process.kill()


def events(team: Team) -> list[str]:
    return [row["event"] for row in team.rosa.yes("audit", "tail")["entries"]]


@pytest.mark.parametrize("said", ["rejected", "closed"])
def test_what_was_taken_back_after_the_decision_is_not_merged(at: At, tmp_path: Path, said: str) -> None:
    """A reviewer's no is logged by another job of CI; whoever may push takes it out of the record again."""
    team = at("approved")
    record, target = RECORD + team.id, team.tip()
    before = team.mallory.ref(record)
    with paused(team, tmp_path, "merge.merging", "merge", "ci", "merge", team.id) as ended:
        if said == "rejected":
            team.rosa.yes("review", "reject", team.id, "--reason", "there is a back door")
        else:
            team.alice.yes("close", team.id)
        team.ci_run()
        assert events(team) == ["admitted", said]
        team.mallory.push(record, before)
    (done,) = ended
    assert done.code == 1, str(done)
    (row,) = done.document["results"]
    assert (row["merged"], said in row["reason"] or "the log moved" in row["reason"]) == (False, True), row
    assert team.tip() == target
    assert events(team) == ["admitted", said]


def test_what_others_logged_meanwhile_is_no_obstacle(at: At, tmp_path: Path) -> None:
    """The log moved, by something else: all is decided anew, and merged."""
    team = at("approved")
    with paused(team, tmp_path, "merge.merging", "merge", "ci", "merge", team.id) as ended:
        for argv in (("stop", "--all", "--reason", "lunch"), ("resume", "--reason", "back")):
            team.alice.yes(*argv)
    (done,) = ended
    assert done.code == 0, str(done)
    assert done.document["results"][0]["merged"]
    assert events(team) == ["admitted", "stopped", "resumed", "merged"]


def test_a_trust_root_that_landed_meanwhile_accuses_nobody_of_rewinding(at: At, tmp_path: Path) -> None:
    """The log's newest entry goes by a version that CI has not read: that is CI's to read, and nobody's to put back."""
    team = at("approved")
    with paused(team, tmp_path, "merge.merging", "merge", "ci", "merge", team.id) as ended:
        team.alice.yes("trust", "sign", "--renew")
        for argv in (("stop", "--all", "--reason", "lunch"), ("resume", "--reason", "back")):
            team.alice.yes(*argv)
    (done,) = ended
    assert done.code == 1, str(done)
    assert f"the rules on {MAIN} are other ones" in done.document["results"][0]["reason"]
    assert "rewound" not in done.out + done.err


def test_nothing_is_rejected_for_good_by_rules_that_changed_meanwhile(at: At, tmp_path: Path) -> None:
    """CI has read the rules; other ones land, something is asked for under them, and another command fetches both."""
    team = at("ready")
    with paused(team, tmp_path, "cli.ci", "_waiting", "ci", "run") as ended:
        policy = team.alice.clone / ".agent-pipeline" / "policy.yaml"
        policy.write_text(policy.read_text() + "# landed meanwhile\n")
        team.alice.git("commit", "-q", "-am", "A comment in the policy")
        team.alice.git("push", "-q", "origin", "main")
        asked = ask(team.alice, "bubblewrap")
        assert asked.code == 0, str(asked)
        team.ci.yes("list")
    (done,) = ended
    assert done.code == 1, str(done)
    (row,) = done.document["results"]
    assert f"the rules on {MAIN} are other ones" in row["checks"][-1]["reason"], row
    assert events(team) == []
    code, rows = team.ci_run()
    assert (code, [one["verdict"] for one in rows.values()]) == (0, ["passed"])
