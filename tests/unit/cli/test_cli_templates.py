"""The templates for CI: no key near foreign code, everything pinned, and a hook that really runs."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent_pipeline import process
from agent_pipeline.cli.onboarding import CI_FILES

TEMPLATES = Path(__file__).parents[3] / "ci" / "templates"
GITHUB, GITLAB, HOOK = (TEMPLATES / CI_FILES[name][0] for name in ("github", "gitlab", "hook"))


@pytest.fixture(scope="module")
def github() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(GITHUB.read_text())
    return found


@pytest.fixture(scope="module")
def gitlab() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(GITLAB.read_text())
    return found


def test_github_gives_the_replay_neither_key_nor_write(github: dict[str, Any]) -> None:
    assert github["permissions"] == {}
    assert "AGENT_PIPELINE_KEY" not in github["env"]
    for name in ("find", "replay"):
        job = github["jobs"][name]
        assert job["permissions"] == {"contents": "read"}
        assert "secrets." not in str(job)
        assert "environment" not in job


def test_github_runs_no_foreign_code_where_the_key_is(github: dict[str, Any]) -> None:
    for name in ("stage", "merge"):
        job = github["jobs"][name]
        commands = re.findall(r"agent-pipeline ci \w+", str(job))
        assert commands == [f"agent-pipeline ci {name}"]
        assert job["environment"] == "agent-pipeline"


def test_github_pins_what_others_wrote(github: dict[str, Any]) -> None:
    used = [step["uses"] for job in github["jobs"].values() for step in job["steps"] if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[a-z-]+/[a-z-]+@[0-9a-f]{40}", use) for use in used)


def test_gitlab_keeps_the_key_to_the_environment(gitlab: dict[str, Any]) -> None:
    assert "environment" not in gitlab["agent-pipeline replay"]
    assert "environment" not in gitlab[".agent-pipeline"]
    for name in ("stage", "merge"):
        job = gitlab[f"agent-pipeline {name}"]
        assert job["environment"]["name"] == "agent-pipeline"
        assert "ci replay" not in str(job)


def test_templates_install_what_the_operator_names_and_nothing_by_default() -> None:
    for file in (GITHUB, GITLAB):  # the bare name is somebody else's on the public index
        text = file.read_text()
        assert "agent-pipeline==" not in text
        installs = [line for line in text.splitlines() if "pip install" in line and not line.lstrip().startswith("#")]
        assert installs
        assert all(":?set the variable AGENT_PIPELINE_PACKAGE" in line for line in installs)


def test_every_command_of_the_templates_exists() -> None:
    said = "".join(file.read_text() for file in (GITHUB, GITLAB, HOOK))
    called = set(re.findall(r"(?:/|^ +|&& |\| )agent-pipeline ((?:ci|image) \w+|list)", said, re.MULTILINE))
    assert called == {"ci run", "ci replay", "ci stage", "ci merge", "image build", "list"}


class Place:
    """A bare repository with the hook, a clone of CI, and a program of that name that writes down how it was called."""

    def __init__(self, tmp_path: Path) -> None:
        self.bare, self.ci, self.user = tmp_path / "bare.git", tmp_path / "ci", tmp_path / "user"
        self.said = tmp_path / "said"
        tools = tmp_path / "bin"
        tools.mkdir()
        program = tools / "agent-pipeline"
        program.write_text(
            '#!/bin/sh\necho "$* in $(pwd) root=$AGENT_PIPELINE_ROOT key=$AGENT_PIPELINE_KEY git=${GIT_DIR:-none}"'
            f' >> "{self.said}"\nexit 1\n'
        )
        program.chmod(0o755)
        self.env = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "GIT_AUTHOR_NAME": "a",
            "GIT_AUTHOR_EMAIL": "a@example.org",
            "GIT_COMMITTER_NAME": "a",
            "GIT_COMMITTER_EMAIL": "a@example.org",
        }
        self.git("init", "-q", "--bare", str(self.bare))
        self.git("clone", "-q", str(self.bare), str(self.ci))
        self.git("clone", "-q", str(self.bare), str(self.user))
        self.git("-C", str(self.user), "commit", "-q", "--allow-empty", "-m", "base")
        hook = self.bare / "hooks" / "post-receive"
        hook.write_bytes(HOOK.read_bytes())
        hook.chmod(0o755)

    def git(self, *words: str, **more: str) -> str:
        done = process.run(["git", *words], env=self.env | more)
        assert done.ok, done.explain()
        return (done.stdout + done.stderr).decode()

    def configure(self) -> None:
        for name, value in (("clone", str(self.ci)), ("root", "sha256:abc"), ("key", "/k")):
            self.git(f"--git-dir={self.bare}", "config", f"agent-pipeline.{name}", value)

    def push(self, ref: str, **more: str) -> str:
        return self.git("-C", str(self.user), "push", str(self.bare), f"HEAD:{ref}", **more)

    def calls(self, wanted: int) -> list[str]:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            lines = self.said.read_text().splitlines() if self.said.exists() else []
            if len(lines) >= wanted:
                return lines
            time.sleep(0.02)
        raise AssertionError("the hook did not call enough")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_hook_runs_ci_in_its_clone(place: Place) -> None:
    place.configure()
    assert "CI has started" in place.push("refs/agent-pipeline/requests/abc")
    expected = f"in {place.ci} root=sha256:abc key=/k git=none"
    assert place.calls(2) == [f"ci run {expected}", f"ci merge {expected}"]
    place.push("refs/agent-pipeline/requests/def")
    assert len(place.calls(4)) == 4
    assert "ci run: exit 1" in (place.bare / "agent-pipeline.log").read_text()


def test_the_hook_leaves_other_pushes_alone(place: Place) -> None:
    place.configure()
    for ref, more in (("refs/heads/main", {}), ("refs/agent-pipeline/requests/a", {"AGENT_PIPELINE_IN_HOOK": "1"})):
        assert "CI has started" not in place.push(ref, **more)
    assert not place.said.exists()
    assert not (place.bare / "agent-pipeline.log").exists()


def test_the_hook_says_which_setting_is_missing(place: Place) -> None:
    assert "no setting agent-pipeline.clone" in place.push("refs/agent-pipeline/requests/abc")
    assert place.git(f"--git-dir={place.bare}", "rev-parse", "refs/agent-pipeline/requests/abc")
