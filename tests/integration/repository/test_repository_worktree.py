"""After a merge the operator's files follow, and nothing of theirs is ever lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.gitrepos import Project, make_bare, make_project

from agent_pipeline.errors import StaleError, UsageError
from agent_pipeline.repository import refs, worktree
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.refs import RefUpdate

BASE = {"a": b"1\n", "b": b"1\n", "d/c": b"1\n", ".gitignore": b"*.log\n"}
MAIN = "refs/heads/main"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "p", BASE)


@pytest.fixture
def moved(project: Project) -> tuple[str, str]:
    """Two commits; the files are still those of the first."""
    old = project.git("rev-parse", "HEAD")
    (project.folder / "d/c").unlink()
    new = project.commit({"a": b"2\n", "n/new": b"2\n"})
    project.git("reset", "--quiet", "--hard", old)
    return old, new


def follow(project: Project, moved: tuple[str, str]) -> None:
    refs.update(project.clone, [RefUpdate(MAIN, *moved)])
    worktree.update(project.clone, *moved)


def test_a_clean_worktree_follows(project: Project, moved: tuple[str, str]) -> None:
    assert worktree.can_update(project.clone, *moved) == ()
    follow(project, moved)
    assert project.git("status", "--porcelain") == ""
    assert (project.folder / "a").read_bytes() == b"2\n"
    assert (project.folder / "n/new").read_bytes() == b"2\n"
    assert not (project.folder / "d").exists()


def test_other_local_changes_stay(project: Project, moved: tuple[str, str]) -> None:
    project.write({"b": b"mine\n", "untracked": b"mine\n"})
    project.write({"staged": b"mine\n"})
    project.git("add", "staged")
    follow(project, moved)
    assert project.git("status", "--porcelain").splitlines() == ["M b", "A  staged", "?? untracked"]
    assert (project.folder / "b").read_bytes() == b"mine\n"


@pytest.mark.parametrize(
    ("path", "staged"), [("a", False), ("a", True), ("d/c", False), ("n/new", False), ("n/new", True), ("n", False)]
)
def test_local_changes_in_the_way_are_never_lost(
    project: Project, moved: tuple[str, str], path: str, *, staged: bool
) -> None:
    project.write({path: b"mine\n"})
    if staged:
        project.git("add", path)
    assert worktree.can_update(project.clone, *moved)
    with pytest.raises(StaleError, match="local changes") as raised:
        follow(project, moved)
    assert "git stash" in (raised.value.hint or "")
    assert (project.folder / path).read_bytes() == b"mine\n"
    assert (project.folder / "b").read_bytes() == b"1\n"


def test_the_names_in_the_way_are_told(project: Project, moved: tuple[str, str]) -> None:
    project.write({"a": b"mine\n"})
    assert worktree.can_update(project.clone, *moved) == ("a",)
    project.git("checkout", "--quiet", "a")
    project.write({"n/new": b"mine\n"})
    assert worktree.can_update(project.clone, *moved) == ("n/new",)


def test_an_ignored_file_in_the_way_is_not_lost(project: Project) -> None:
    old = project.git("rev-parse", "HEAD")
    project.write({"x.log": b"2\n"})
    project.git("add", "--force", "x.log")
    new = project.commit({})
    project.git("reset", "--quiet", "--hard", old)
    project.write({"x.log": b"mine\n"})
    assert worktree.can_update(project.clone, old, new) == ("x.log",)
    with pytest.raises(StaleError):
        worktree.update(project.clone, old, new)
    assert (project.folder / "x.log").read_bytes() == b"mine\n"


def test_an_ignored_file_in_a_directory_that_becomes_a_file_is_not_lost(project: Project) -> None:
    old = project.git("rev-parse", "HEAD")
    (project.folder / "d/c").unlink()
    (project.folder / "d").rmdir()
    new = project.commit({"d": b"2\n"})
    project.git("reset", "--quiet", "--hard", old)
    assert worktree.can_update(project.clone, old, new) == ()
    project.write({"d/x.log": b"mine\n"})
    assert worktree.can_update(project.clone, old, new) == ("d/x.log",)


def test_an_ignored_file_in_the_way_of_a_directory_is_not_lost(project: Project) -> None:
    old = project.git("rev-parse", "HEAD")
    new = project.commit({"x.log/a": b"2\n", ".gitignore": b""})
    project.git("add", "--force", "x.log/a")
    new = project.commit({})
    project.git("reset", "--quiet", "--hard", old)
    project.write({"x.log": b"mine\n"})
    assert worktree.can_update(project.clone, old, new) == ("x.log",)


def test_touched_files_are_no_local_change(project: Project, moved: tuple[str, str]) -> None:
    content = (project.folder / "a").read_bytes()
    (project.folder / "a").unlink()
    (project.folder / "a").write_bytes(content)
    assert worktree.can_update(project.clone, *moved) == ()


def test_a_file_that_the_user_deleted_stays_so(project: Project, moved: tuple[str, str]) -> None:
    (project.folder / "b").unlink()
    follow(project, moved)
    assert not (project.folder / "b").exists()


def test_no_hook_runs(project: Project, moved: tuple[str, str], tmp_path: Path) -> None:
    hooks = project.folder / ".git/hooks"
    shutil.rmtree(hooks, ignore_errors=True)
    hooks.mkdir()
    for name in ("post-checkout", "post-index-change", "post-merge", "reference-transaction"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (hooks / name).chmod(0o755)
    follow(project, moved)
    assert not (tmp_path / "ran").exists()


def test_a_linked_worktree_follows(project: Project, moved: tuple[str, str], tmp_path: Path) -> None:
    project.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "linked"), moved[0])
    clone = Clone.discover(tmp_path / "linked")
    refs.update(clone, [RefUpdate("refs/heads/side", *moved)])
    worktree.update(clone, *moved)
    assert (tmp_path / "linked/a").read_bytes() == b"2\n"
    assert (project.folder / "a").read_bytes() == b"1\n"
    assert Project(tmp_path / "linked").git("status", "--porcelain") == ""


def test_the_users_filters_apply(project: Project) -> None:
    project.commit({".gitattributes": b"*.big filter=big\n"})
    old = project.git("rev-parse", "HEAD")
    new = project.commit({"x.big": b"pointer\n"})
    project.git("reset", "--quiet", "--hard", old)
    project.git("config", "filter.big.smudge", "sed s/pointer/content/")
    project.git("config", "filter.big.clean", "sed s/content/pointer/")
    refs.update(project.clone, [RefUpdate(MAIN, old=new if project.clone.ref(MAIN) == new else old, new=new)])
    worktree.update(project.clone, old, new)
    assert (project.folder / "x.big").read_bytes() == b"content\n"
    assert project.git("status", "--porcelain") == ""


def test_bare(tmp_path: Path, project: Project) -> None:
    bare = make_bare(tmp_path / "r.git")
    project.git("push", "--quiet", str(bare), "main")
    with pytest.raises(UsageError, match="bare"):
        worktree.can_update(Clone.discover(bare), "HEAD", "HEAD")
