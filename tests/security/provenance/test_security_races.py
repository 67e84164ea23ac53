"""Attack 65: the target, the record or the log moves after `ci merge` has decided, and before its push has arrived.

Everything is verified on what was fetched; the push is what CI has no second look after. A second pusher waits for
exactly that moment, in one of two places: in the program that answers the push, before it says what it has (Git
compares that with the leases), or in a hook behind that (the server compares once more while it locks).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.courts import refused
from support.teams import LOG, MAIN, REQUESTS, Team
from support.trust import Maker

from agent_pipeline.documents.verification import PASSED
from agent_pipeline.verify import decide

pytestmark = pytest.mark.containers

At = Callable[[str], Team]


@dataclass
class Second:
    """A second pusher, who moves one ref of the remote once, in the middle of somebody else's push."""

    team: Team
    ref: str
    old: str
    new: str | None

    @property
    def moved(self) -> bool:
        return (self.team.top / "moved").exists()

    def _script(self, path: Path, then: str) -> None:
        command = ["-d", self.ref, self.old] if self.new is None else [self.ref, self.new, self.old]
        git = f"env -i PATH={os.environ['PATH']} git --git-dir={self.team.bare} update-ref {' '.join(command)}"
        path.write_text(f"#!/bin/sh\n[ -e {self.team.top}/moved ] || {git} && touch {self.team.top}/moved\n{then}\n")
        path.chmod(0o755)

    def before_it_is_said_what_is_there(self) -> None:
        path = self.team.top / "receive"
        self._script(path, 'exec git-receive-pack "$@"')
        self.team.ci.git("config", "remote.origin.receivepack", str(path))

    def after_it_was_said_what_is_there(self) -> None:
        hook = self.team.bare / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        self._script(hook, "exit 0")


def something_else(team: Team) -> None:
    """Alice lands something else."""
    team.alice.git("pull", "-q", "--ff-only", "origin", "main")
    team.alice.git("commit", "-q", "--allow-empty", "-m", "Meanwhile")
    team.alice.git("push", "-q", "origin", "main")


def rejection(team: Team) -> None:
    """Rosa has second thoughts: what she approved she rejects."""
    team.rosa.yes("review", "reject", team.id, "--reason", "I overlooked something")


def stop(team: Team) -> None:
    """Alice, who holds the trust root, stops everything."""
    team.alice.yes("stop", "--all", "--reason", "a key is missing")


def later(team: Team, ref: str, act: Callable[[Team], None]) -> tuple[str, str]:
    """Let somebody act, and take that back on the remote: where `ref` was, and where it is going to be."""
    before = refs(team)
    act(team)
    after = refs(team)
    assert {name for name in before | after if before.get(name) != after.get(name)} == {ref}
    team.alice.git("update-ref", ref, before[ref], cwd=team.bare)
    return before[ref], after[ref]


def refs(team: Team) -> dict[str, str]:
    """Everything that the remote has."""
    lines = team.alice.git("for-each-ref", "--format=%(refname) %(objectname)", cwd=team.bare).splitlines()
    return dict(line.split(" ") for line in lines)


def lost(team: Team, second: Second, said: str) -> None:
    """`ci merge` lost the race, says why, and nothing but what the second pusher did has happened.

    Where the log moved it decided once more, on what there is by now.
    """
    before = refs(team)
    code, rows = team.ci_merge(team.id)
    assert second.moved
    assert (code, rows[team.id]["merged"]) == (1, False), rows
    assert said in rows[team.id]["reason"], rows
    there = {second.ref: second.new} if second.new is not None else {}
    assert refs(team) == {name: oid for name, oid in before.items() if name != second.ref} | there


ON = {
    "the target": (lambda _team: MAIN, something_else, "moved meanwhile", "ask again"),
    "the record": (lambda team: REQUESTS + team.id, rejection, "moved meanwhile", "rejected"),
    "the log": (lambda _team: LOG, stop, "alice stopped everything by entry 1", "stopped since entry 1"),
}


@pytest.mark.parametrize("what", ON)
@pytest.mark.parametrize("where", [Second.before_it_is_said_what_is_there, Second.after_it_was_said_what_is_there])
def test_065_what_was_decided_on_goes_on_before_the_push_arrives(
    at: At, what: str, where: Callable[[Second], None]
) -> None:
    """Somebody lands something else, a reviewer rejects, the stop cord is pulled: none of it is overtaken."""
    team = at("approved")
    named, act, said, word = ON[what]
    ref = named(team)
    second = Second(team, ref, *later(team, ref, act))
    where(second)
    lost(team, second, said)
    again = team.ci.run("ci", "merge", team.id, "--json")
    assert again.code == 1, str(again)
    assert word in again.out, str(again)


def test_065_before_the_decision_a_step_says_that_the_target_moved() -> None:
    given = Maker().landing()
    refused(decide(replace(given, target_tip="a" * 40)), "33 target unmoved", "ask again", alone=True)
    gone = decide(replace(given, target_tip=None))
    assert gone.verdict != PASSED


BACK = {
    "the target": (lambda _team: MAIN, lambda team, ref: team.mallory.ref(f"{ref}^"), "are other ones than when"),
    "the record": (lambda team: REQUESTS + team.id, lambda team, ref: team.mallory.ref(f"{ref}^"), "moved meanwhile"),
    "the log": (lambda _team: LOG, lambda _team, _ref: None, "the log was rewound or replaced"),
}


@pytest.mark.parametrize("what", BACK)
def test_065_what_was_decided_on_goes_back_before_the_push_arrives(at: At, what: str) -> None:
    """What was merged would follow what is there then, so that Git alone would take it: only the lease says no."""
    team = at("approved")
    named, wanted, said = BACK[what]
    ref = named(team)
    second = Second(team, ref, team.mallory.ref(ref), wanted(team, ref))
    second.before_it_is_said_what_is_there()
    lost(team, second, said)
    team.alice.git("update-ref", ref, second.old, cwd=team.bare)
    code, rows = team.ci_merge(team.id)  # nothing of the attempt is left anywhere: as if it had not been
    assert (code, rows[team.id]["merged"]) == (0, True), rows
    assert team.rosa.yes("audit", "verify")["holds"]
