"""Commit objects: the bytes that are signed are the bytes that are stored."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.gitrepos import Project, make_project, run_git

from agent_pipeline import process
from agent_pipeline.errors import GitError, UsageError
from agent_pipeline.repository import commits

WHEN = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
WHO = ("Ada", "ada@example.org")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "p")


def test_a_draft_is_what_git_would_write(project: Project) -> None:
    clone = project.clone
    head = clone.commit("HEAD")
    draft = commits.draft(clone, clone.tree(head), [head], "Subject\n\nBody \u00fc\n\n", *WHO, WHEN)
    oid = commits.write(clone, draft, None)
    when = f"{int(WHEN.timestamp())} +0000"
    env = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
    words = ["commit-tree", clone.tree(head), "-p", head, "-m", "Subject", "-m", "Body \u00fc"]
    assert oid == run_git(project.folder, *words, env=env).decode().strip()
    assert clone.parents(oid) == (head,)
    assert commits.signature_of(clone, oid) is None
    project.git("fsck", "--strict", "--no-dangling", oid)
    assert oid == commits.write(clone, draft, None)


def test_git_verifies_a_signed_commit(project: Project, tmp_path: Path) -> None:
    key = tmp_path / "key"
    assert process.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], env={"PATH": "/usr/bin:/bin"}
    ).ok
    clone = project.clone
    head = clone.commit("HEAD")
    draft = commits.draft(clone, clone.tree(head), [head], "Signed", *WHO, WHEN)
    signed = process.run(
        ["ssh-keygen", "-Y", "sign", "-n", "git", "-f", str(key)], env={"PATH": "/usr/bin:/bin"}, stdin=draft
    )
    oid = commits.write(clone, draft, signed.stdout.decode())
    (tmp_path / "allowed").write_text(f"{WHO[1]} {key.with_suffix('.pub').read_text()}")
    project.git("config", "gpg.format", "ssh")
    project.git("config", "gpg.ssh.allowedSignersFile", str(tmp_path / "allowed"))
    project.git("verify-commit", oid)
    found = commits.signature_of(clone, oid)
    assert found is not None
    assert found[0] == draft
    assert found[1].strip() == signed.stdout.decode().strip()


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a<b", "a>b", "a\0"])
def test_names_that_could_forge_a_header(project: Project, name: str) -> None:
    clone = project.clone
    tree = clone.tree(clone.commit("HEAD"))
    with pytest.raises(UsageError):
        commits.draft(clone, tree, [], "m", name, "a@b", WHEN)
    with pytest.raises(UsageError):
        commits.draft(clone, tree, [], "m", "a", name, WHEN)


@pytest.mark.parametrize("message", ["", " \n", "a\0b"])
def test_messages_that_are_refused(project: Project, message: str) -> None:
    clone = project.clone
    with pytest.raises(UsageError):
        commits.draft(clone, clone.tree(clone.commit("HEAD")), [], message, *WHO, WHEN)


def test_missing_objects_are_refused(project: Project) -> None:
    clone = project.clone
    tree = clone.tree(clone.commit("HEAD"))
    with pytest.raises(GitError):
        commits.draft(clone, "1" * 40, [], "m", *WHO, WHEN)
    with pytest.raises(GitError):
        commits.draft(clone, tree, ["1" * 40], "m", *WHO, WHEN)
    with pytest.raises(GitError):
        commits.signature_of(clone, tree)
