"""A team around one bare repository, for tests of attacks: set up once, put back at every stage for every test.

Alice asks and runs agents, Ci is CI, Rosa reviews. Mallory has no role: she may push, with plain git.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.people import Done, Person, ask, project
from support.pushers import Pusher

REQUESTS = "refs/agent-pipeline/requests/"
LOG = "refs/agent-pipeline/log"
MAIN = "refs/heads/main"
STAGES = ("ready", "proposed", "staged", "approved", "merged")


@dataclass
class Team:
    """The people, and the bare repository that they share. `found` is what Alice's request came to."""

    top: Path
    alice: Person
    ci: Person
    rosa: Person
    mallory: Pusher
    bare: Path
    found: dict[str, Any]

    @property
    def id(self) -> str:
        """The id of Alice's request."""
        return str(self.found["id"])

    def tip(self, ref: str = MAIN) -> str | None:
        """What the remote has."""
        found = self.alice.git("ls-remote", str(self.bare), ref).split()
        return found[0] if found else None

    def ci_run(self, *names: str) -> tuple[int, dict[str, dict[str, Any]]]:
        """Let CI run; return its exit code and its results by id."""
        done = self.ci.run("ci", "run", *names, "--json")
        return done.code, {row["id"]: row for row in done.document["results"]}

    def ci_merge(self, *names: str) -> tuple[int, dict[str, dict[str, Any]]]:
        """Let CI merge; return its exit code and its results by id."""
        done = self.ci.run("ci", "merge", *names, "--json")
        return done.code, {row["id"]: row for row in done.document["results"]}

    def shown(self, person: Person | None = None) -> Done:
        """What somebody is shown about Alice's request."""
        return (person or self.rosa).run("show", self.id, "--json")


def _people(top: Path) -> list[Person]:
    return [Person(name, top / name / "home", top / name / "clone") for name in ("alice", "ci", "rosa")]


def _set_up(top: Path) -> None:
    """Do what a team does once."""
    bare = top / "origin.git"
    alice, ci, rosa = _people(top)
    project(alice)
    alice.git("init", "-q", "--bare", "-b", "main", str(bare))
    alice.git("remote", "add", "origin", str(bare))
    alice.git("push", "-q", "origin", "main")
    root = alice.yes("init")["root"]
    for person in (ci, rosa):
        person.git("clone", "-q", str(bare), str(person.clone), cwd=person.home)
        person.yes("join")
    offers = {row["name"]: row["fingerprint"] for row in alice.yes("trust", "show")["offers"]}
    assert set(offers) == {"ci", "rosa"}
    alice.yes("trust", "add", "ci", "--role", "ci", "--role", "merger", "--fingerprint", offers["ci"])
    alice.yes("trust", "add", "rosa", "--role", "reviewer", "--fingerprint", offers["rosa"])
    for person in (ci, rosa):
        person.yes("trust", "pin", root)
    alice.git("pull", "-q", "--ff-only", "origin", "main")
    policy = alice.clone / ".agent-pipeline" / "policy.yaml"
    text = policy.read_text().replace("reviewers: 0", "reviewers: 1").replace("persons: 1", "persons: 3")
    policy.write_text(text)
    alice.git("commit", "-q", "-am", "Three persons, one reviewer")
    alice.git("push", "-q", "origin", "main")


@dataclass
class Stages:
    """A team at one place, and copies of it at every stage that was reached so far."""

    top: Path
    saved: Path
    found: dict[str, Any] = field(default_factory=dict)

    def __call__(self, stage: str) -> Team:
        """Return the team at `stage`, as it was; what is not there yet is done for real, once."""
        for number, name in enumerate(STAGES[: STAGES.index(stage) + 1]):
            if not (self.saved / name).exists():
                if number:
                    _copy(self.saved / STAGES[number - 1], self.top)
                self._reach(name)
                _copy(self.top, self.saved / name)
        _copy(self.saved / stage, self.top)
        team = self._team()
        team.mallory.fetch()
        return team

    def _team(self) -> Team:
        alice, ci, rosa = _people(self.top)
        bare = self.top / "origin.git"
        return Team(self.top, alice, ci, rosa, Pusher(self.top / "mallory.git", bare), bare, dict(self.found))

    def _reach(self, stage: str) -> None:
        team = self._team()
        if stage == "ready":
            _set_up(self.top)
        elif stage == "proposed":
            self.found.update(ask(team.alice, "bubblewrap").document)
        elif stage == "staged":
            assert team.ci_run()[0] == 0
        elif stage == "approved":
            team.rosa.yes("review", "approve", team.id, "--tree", self.found["tree"])
        else:
            assert team.ci_merge()[0] == 0


@contextmanager
def staged_team() -> Iterator[Stages]:
    """Give a way to have a team at any of `STAGES`, again and again: always the same place, so that pins hold."""
    top = Path(tempfile.mkdtemp(prefix="agent-pipeline-team-"))
    top.chmod(0o755)
    saved = Path(tempfile.mkdtemp(prefix="agent-pipeline-stages-"))
    try:
        yield Stages(top, saved)
    finally:
        shutil.rmtree(top)
        shutil.rmtree(saved)


def _copy(source: Path, target: Path) -> None:
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target, symlinks=True)
