"""The git command's wrapper runs nothing of the repository's choosing, and says what went wrong."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from support.gitrepos import make_project

from agent_pipeline import process
from agent_pipeline.errors import GitError
from agent_pipeline.repository.git import git


def test_it_answers(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    assert git(project.clone, "rev-parse", "HEAD").decode().strip() == project.git("rev-parse", "HEAD")
    assert git(project.clone.path, "cat-file", "--batch-check", stdin=b"HEAD\n").split()[1] == b"commit"


def test_failure_is_a_git_error_unless_it_is_an_answer(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    with pytest.raises(GitError, match="rev-parse") as raised:
        git(project.clone, "rev-parse", "--verify", "--quiet", "refs/heads/nope")
    assert "exit 1" in raised.value.message
    assert git(project.clone, "rev-parse", "--verify", "--quiet", "refs/heads/nope", ok=(0, 1)) == b""


def test_time_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(GitError, match="ran out of time"):
        git(make_project(tmp_path / "p").clone, "cat-file", "--batch", seconds=0, stdin=b"HEAD\n" * 200_000)


def test_no_hook_alias_or_monitor_runs(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", {"a": b"1", ".gitattributes": b"* diff=evil filter=evil\n"})
    marker = tmp_path / "ran"
    for key in (
        "core.fsmonitor",
        "core.pager",
        "diff.external",
        "diff.evil.textconv",
        "diff.evil.command",
        "core.editor",
    ):
        project.git("config", key, f"touch {marker}")
    hooks = project.folder / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("reference-transaction", "post-index-change", "update"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {marker}\n")
        (hooks / name).chmod(0o755)
    head = project.git("-c", "core.hooksPath=/dev/null", "rev-parse", "HEAD")
    git(project.clone, "update-ref", "refs/x/y", head)
    git(project.clone, "log", "-p", "--stat", "--end-of-options", "HEAD")
    git(project.clone, "diff-tree", "-p", "--root", "--end-of-options", "HEAD")
    assert not marker.exists()


def test_the_callers_environment_leads_nowhere_else(tmp_path: Path) -> None:
    """Inside a hook, GIT_* names another repository; it must not matter."""
    one, two = make_project(tmp_path / "one"), make_project(tmp_path / "two", {"other": b"2"})
    script = (
        "import sys; from pathlib import Path; from agent_pipeline.repository.git import git;"
        "sys.stdout.buffer.write(git(Path(sys.argv[1]), 'rev-parse', 'HEAD'))"
    )
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path.cwd()),
        "GIT_DIR": str(two.folder / ".git"),
        "GIT_OBJECT_DIRECTORY": str(two.folder / ".git/objects"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "alias.rev-parse",
        "GIT_CONFIG_VALUE_0": "!false",
    }
    done = process.run([sys.executable, "-c", script, str(one.folder / ".git")], env=env)
    assert done.stdout.decode().strip() == one.git("rev-parse", "HEAD"), done.explain()


def test_transports_are_off(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    with pytest.raises(GitError, match="not allowed"):
        git(project.clone, "ls-remote", f"file://{project.folder}")
