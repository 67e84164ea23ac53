"""Where attacks are judged: what the verifier says of documents, and what CI says of records that somebody pushed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from support.hostile import HostileRunner
from support.pushers import Pusher
from support.teams import Team

from agent_pipeline import clock
from agent_pipeline import config as configuration
from agent_pipeline.documents.policy import Policy
from agent_pipeline.documents.verification import FAILED, Verification
from agent_pipeline.pipeline import examine
from agent_pipeline.repository import records, trees
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.dossier import open_dossier
from agent_pipeline.repository.landed import Desk, open_desk


def failed(verification: Verification) -> dict[str, str]:
    """The steps that refuse, by name, with their reasons."""
    return {check.name[3:]: check.reason for check in verification.checks if check.outcome == FAILED}


def refusing(verification: Verification) -> set[str]:
    """The steps that refuse, by number and name, such as `05 runner`."""
    return {check.name for check in verification.checks if check.outcome == FAILED}


def refused(verification: Verification, step: str, word: str = "", *, alone: bool = False) -> None:
    """Check that the numbered step (such as `05 runner`) refuses with `word`, and that it counts."""
    found = {check.name: check.reason for check in verification.checks if check.outcome == FAILED}
    assert step in found, found
    assert word in found[step], found[step]
    assert not alone or set(found) == {step}, found
    assert verification.verdict == FAILED
    Verification.from_json(verification.to_json())


@dataclasses.dataclass
class Court:
    """A hostile runner, and CI's verification of what it pushed, in this process and without a replay."""

    runner: HostileRunner
    desk: Callable[..., Desk]
    policy: Policy

    def judge(self, request: str) -> Verification:
        """Verify the newest proposal of `request`."""
        return self.judge_all([request])[0]

    def judge_all(self, requests: Sequence[str]) -> list[Verification]:
        """Verify the newest proposal of each of `requests`, after one look at the remote."""
        desk = self.desk()
        dossiers = [open_dossier(records.find(desk.clone, request, desk.remote)) for request in requests]
        return [examine(desk, dossier, replays=False).verification for dossier in dossiers]

    def failed(self, request: str) -> dict[str, str]:
        """Return the steps that refuse the newest proposal of `request`, with their reasons."""
        return failed(self.judge(request))

    def blob(self, data: bytes) -> str:
        """Store a file's content in the runner's clone."""
        return Pusher(self.runner.clone.path, self.runner.team.bare).blob(data)

    def with_entry(self, place: str, entry: str) -> str:
        """Return the base's tree with one entry put into it by hand: `mode:object`."""

        def change(files: dict[str, Any]) -> None:
            *folders, name = place.split("/")
            for folder in folders:
                files = files.setdefault(folder, {})
            files[name] = entry

        return self.runner.made(change)

    def shown(self, tree: str) -> tuple[Any, ...]:
        """Return the changes that an honest host finds in `tree`."""
        return trees.compare(self.runner.clone, self.runner.clone.tree(self.runner.base), tree)


def open_court(team: Team) -> Court:
    """Let CI judge in this process, from its own clone and pins."""
    pins = configuration.load()
    person = dataclasses.replace(pins, config_dir=team.ci.home / "config" / "agent-pipeline", root_digest=None)

    def desk(tell: Callable[[str], None] = lambda _line: None) -> Desk:
        return open_desk(Clone.discover(team.ci.clone), person, tell, clock.now())

    return Court(HostileRunner(team), desk, desk().landed.policy)
