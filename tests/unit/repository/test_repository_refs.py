"""Refs move together, and only from where the caller saw them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.gitrepos import Project, make_project

from agent_pipeline.errors import GitError, StaleError, UsageError
from agent_pipeline.repository import refs
from agent_pipeline.repository.refs import RefUpdate

X, Y = "refs/agent-pipeline/x", "refs/agent-pipeline/y"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "p")


@pytest.fixture
def commits(project: Project) -> tuple[str, str]:
    return project.git("rev-parse", "HEAD"), project.commit({"a": b"2"})


def test_create_move_delete(project: Project, commits: tuple[str, str]) -> None:
    one, two = commits
    clone = project.clone
    refs.update(clone, [RefUpdate(X, None, one), RefUpdate(Y, None, one)])
    refs.update(clone, [RefUpdate(X, one, two), RefUpdate(Y, one, None)])
    assert clone.refs("refs/agent-pipeline/") == {X: two}
    refs.update(clone, [])


def test_every_ref_below_a_folder_is_listed_whatever_it_names(project: Project, commits: tuple[str, str]) -> None:
    blob = project.blob(b"no commit")
    for name, oid in ((X, commits[0]), (Y, blob), ("refs/agent-pipeline-other/x", commits[1]), ("refs/o/x", blob)):
        project.git("update-ref", name, oid)
    assert refs.listed(project.clone, "refs/agent-pipeline/") == {X: commits[0], Y: blob}
    assert refs.listed(project.clone, "refs/agent-pipeline", "refs/o/") == {X: commits[0], Y: blob, "refs/o/x": blob}
    assert refs.listed(project.clone, "refs/nothing/") == {}


@pytest.mark.parametrize("where", ["exists", "moved", "gone", "delete moved"])
def test_a_lost_race_changes_nothing_and_names_the_ref(project: Project, commits: tuple[str, str], where: str) -> None:
    one, two = commits
    clone = project.clone
    if where != "gone":
        project.git("update-ref", Y, two)
    lost = {
        "exists": RefUpdate(Y, None, one),
        "moved": RefUpdate(Y, one, two),
        "gone": RefUpdate(Y, one, two),
        "delete moved": RefUpdate(Y, one, None),
    }[where]
    before = clone.refs("refs/")
    with pytest.raises(StaleError, match=Y) as raised:
        refs.update(clone, [RefUpdate(X, None, one), lost])
    assert raised.value.hint
    assert clone.refs("refs/") == before


def test_a_held_lock_is_could_not_tell(project: Project, commits: tuple[str, str]) -> None:
    lock = project.folder / ".git/refs/agent-pipeline/x.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    with pytest.raises(GitError, match="did not move") as raised:
        refs.update(project.clone, [RefUpdate(X, None, commits[0])])
    assert "again" in (raised.value.hint or "")


def test_a_missing_object_is_refused(project: Project) -> None:
    with pytest.raises(GitError):
        refs.update(project.clone, [RefUpdate(X, None, "1" * 40)])
    assert project.clone.ref(X) is None


def test_a_branchs_move_can_be_found_again(project: Project, commits: tuple[str, str]) -> None:
    one, two = commits
    refs.update(project.clone, [RefUpdate("refs/heads/main", two, one)])
    assert project.git("rev-parse", "main@{1}") == two


@pytest.mark.parametrize(
    "name",
    [
        "main", "HEAD", "heads/main", "refs/main", "refs/heads/-x", "refs/heads/--upload-pack=x", "refs/heads/HEAD",
        "refs/heads/a\u200bb", "refs/heads/a b", "refs/heads/a..b", "refs/heads/a\nb", "refs/heads/a\0b", "refs/heads/",
        "refs/heads/a.lock", "refs/heads//a", "/refs/heads/a", "refs/heads/a~1", "refs/heads/\u202ea", "",
    ],
)  # fmt: skip
def test_names_that_are_refused(project: Project, commits: tuple[str, str], name: str) -> None:
    with pytest.raises(UsageError):
        refs.update(project.clone, [RefUpdate(name, None, commits[0])])


@pytest.mark.parametrize("name", ["refs/heads/feature/x", "refs/heads/\u00fcber", "refs/heads/a-b_c.d", "refs/heads/1"])
def test_ordinary_names(name: str) -> None:
    refs.check_name(name)
