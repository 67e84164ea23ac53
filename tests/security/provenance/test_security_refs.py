"""Attacks 70 and 71: what is merged, and what a reviewer sees. (The other refs and the log: `test_security_log.py`.)"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from support.courts import refused
from support.hostile import HostileRunner, signer
from support.people import Person
from support.teams import Team
from support.trust import BASE, Maker

from agent_pipeline import clock
from agent_pipeline.repository import commits
from agent_pipeline.verify import decide

At = Callable[[str], Team]
OTHER_ID = "a" * 40
EVIL = b"def mean(values):\n    return 0.0 if not values else sum(values) / len(values) + 1e-9\n"


def signed_by_ci(team: Team, tree: str, parents: list[str], statement: str) -> str:
    """A commit as CI stages it, signed with CI's stolen key, of whatever tree and parents."""
    runner = HostileRunner(team)
    message = f"agent change\n\nAgent-Pipeline-Statement: sha256:{statement}\n"
    draft = commits.draft(runner.clone, tree, parents, message, "ci", "ci@example.org", clock.now())
    return commits.write(runner.clone, draft, signer(team.ci).commit(draft))


@pytest.mark.containers
def test_070_commits_behind_the_second_parent_and_an_evil_merge(at: At) -> None:
    """The branch that is merged is replaced by commits which even CI's own (stolen) key signed."""
    team = at("approved")
    runner, branch, tip = HostileRunner(team), f"refs/heads/agent/{team.id}", team.tip()
    staged = team.mallory.ref(branch)
    message = team.mallory.git("log", "-1", "--format=%B", staged)
    statement = message.partition("Agent-Pipeline-Statement: sha256:")[2][:64]
    pusher_tree = team.mallory.git("rev-parse", f"{staged}^{{tree}}")
    files = team.mallory.files(branch)
    files["calc.py"] = EVIL
    hidden = team.mallory.commit(team.mallory.tree(files), runner.base, message="hidden history\n")
    team.mallory.push("refs/heads/hidden", hidden)
    team.alice.git("fetch", "-q", "origin", "hidden", branch)
    evil_tree = runner.clone.tree(hidden)
    replaced = {
        "unreviewed commits behind it": (pusher_tree, [hidden], "only parent is not the base"),
        "a second parent": (pusher_tree, [runner.base, hidden], "only parent is not the base"),
        "another tree": (evil_tree, [runner.base], "staged tree is"),
    }
    for what, (tree, parents, word) in replaced.items():
        forged = signed_by_ci(team, tree, parents, statement)
        team.alice.git("push", "-q", "--force", "origin", f"{forged}:{branch}")
        code, rows = team.ci_merge(team.id)
        assert (code, rows[team.id]["merged"]) == (1, False), what
        assert word in rows[team.id]["reason"], (what, rows)
        assert team.tip() == tip
    for fields, word in (
        ({"parent": OTHER_ID}, "parent"),
        ({"parent": f"{BASE}\nparent {OTHER_ID}"}, "parent"),
        ({"tree": OTHER_ID}, "tree"),
    ):
        landing = replace(Maker().landing(), staged=Maker().staged(**fields))
        refused(decide(landing), "35 staged", word, alone=True)


MOVED_MEANWHILE = """
import subprocess, sys
from agent_pipeline.cli.main import main
from agent_pipeline.review import evidence
decide_landing = evidence.decide_landing
def moved(*args, **options):
    decided = decide_landing(*args, **options)
    subprocess.run(["git", "--git-dir", {bare!r}, "update-ref", {branch!r}, {evil!r}], check=True)
    subprocess.run([sys.executable, "-P", "-m", "agent_pipeline", "list"], check=True, stdout=subprocess.DEVNULL)
    return decided
evidence.decide_landing = moved
main()
"""


@pytest.mark.containers
def test_070_the_staged_branch_moves_after_the_decision(at: At) -> None:
    """Somebody pushes commits behind the staged one, and another command of CI's clone fetches them at that moment."""
    team = at("approved")
    branch, base = f"refs/heads/agent/{team.id}", team.tip()
    assert base is not None
    staged = team.mallory.ref(branch)
    files = team.mallory.files(branch)
    files["calc.py"] = EVIL
    hidden = team.mallory.commit(team.mallory.tree(files), base, message="hidden history\n")
    tree = team.mallory.git("rev-parse", f"{staged}^{{tree}}")
    evil = team.mallory.commit(tree, hidden, message="of the approved tree, signed by nobody\n")
    team.mallory.push("refs/heads/evil", evil)
    code = MOVED_MEANWHILE.format(bare=str(team.bare), branch=branch, evil=evil)
    command = [sys.executable, "-P", "-c", code, "ci", "merge", team.id, "--json"]
    done = subprocess.run(
        command, cwd=team.ci.clone, env=team.ci.env, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert team.tip(branch) == evil
    team.alice.git("fetch", "-q", "origin")
    assert team.alice.git("rev-list", "--parents", "-1", "origin/main").split()[1:] == [base, staged]


HIDES = {
    "diff.external": "true",
    "diff.hide.textconv": "true",
    "diff.hide.command": "true",
    "diff.hide.binary": "true",
    "diff.noprefix": "true",
    "core.pager": "true",
    "pager.diff": "true",
    "core.attributesFile": "{home}/attributes",
    "filter.hide.clean": "true",
    "filter.hide.smudge": "true",
    "diff.ignoreSubmodules": "all",
    "diff.orderFile": "/dev/null",
}


def hide(person: Person) -> None:
    """Set up everything by which Git would show somebody another change than there is."""
    for name, value in HIDES.items():
        person.git("config", "--global", name, value.format(home=person.home))
        person.git("config", name, value.format(home=person.home))
    attributes = "* diff=hide filter=hide\n*.py -diff binary\n"
    (person.home / "attributes").write_text(attributes)
    (person.clone / ".git" / "info").mkdir(exist_ok=True)
    (person.clone / ".git" / "info" / "attributes").write_text(attributes)
    (person.clone / ".gitattributes").write_text(attributes)


@pytest.mark.containers
def test_071_a_text_conversion_or_an_external_diff_that_hides_the_change(at: At) -> None:
    team = at("staged")
    before = team.rosa.run("diff", team.id)
    assert before.code == 0, str(before)
    assert "+    return sum(values) / len(values) if values else 0.0" in before.out
    hide(team.rosa)
    hostile = {"GIT_EXTERNAL_DIFF": "true", "GIT_PAGER": "true", "GIT_DIFF_OPTS": "-u0", "PAGER": "true"}
    after = team.rosa.run("diff", team.id, **hostile)
    assert (after.code, after.out) == (before.code, before.out)
    tree = team.rosa.yes("show", team.id, **hostile)["tree"]
    assert tree == team.found["tree"]
