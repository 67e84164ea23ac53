"""Ignore patterns mean what they mean to Git."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support.gitrepos import Project, make_project

from agent_pipeline.repository import trees
from agent_pipeline.workspace.ignoring import Ignored

NAMES = st.sampled_from(["a", "b", "c.log", "build"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
# `a/**/` is left out: the pattern library reads it as `a/`, Git as all directories below `a`. Nobody writes it.
PATTERNS = st.just("a/**") | st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "", "!", "/", "**/"]),
    st.sampled_from(["a", "b", "*.log", "build", "a/b", "build/*", "*", "?", "[ab]"]),
    st.sampled_from(["", "", "/"]),
    st.sampled_from(["", "", " ", "\r"]),
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("ignoring") / "p", {"z": b""})


def ours(project: Project, files: dict[str, list[str]], path: str) -> bool:
    """Ask as the harvest does: from the top down, and an ignored directory answers for all below it."""
    clone = project.clone
    puts = {name: trees.Put("\n".join(lines).encode(), trees.FILE) for name, lines in files.items()}
    tree = trees.build(clone, project.raw_tree(), puts)
    ignored = Ignored(clone, {entry.path: entry for entry in trees.entries(clone, tree)}.get, [])
    parts = path.split("/")
    levels = range(1, len(parts) + 1)
    return any(ignored.match("/".join(parts[:level]).encode(), folder=level < len(parts)) for level in levels)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(top=st.lists(PATTERNS, max_size=3), nested=st.lists(PATTERNS, max_size=2), path=PATHS)
def test_git_says_the_same(project: Project, top: list[str], nested: list[str], path: str) -> None:
    files = {".gitignore": top, "a/.gitignore": nested}
    for name, lines in files.items():
        target = project.folder / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes("\n".join(lines).encode())
    assume(path != "a")  # there, it is a directory
    told = project.git("check-ignore", "--no-index", "--", path, ok=False)
    assert ours(project, files, path) == (told == path)


def test_a_line_that_is_no_pattern_says_nothing(project: Project) -> None:
    assert ours(project, {".gitignore": ["!", "***", "a\\", "c.log"]}, "c.log")
    assert not ours(project, {".gitignore": ["!"]}, "a")


@pytest.mark.parametrize("line", ["[z-a]", "[[:alpha:]]", "[a--z]", "(?P<x>"])
def test_a_line_that_python_s_expressions_refuse_or_read_otherwise_says_nothing(project: Project, line: str) -> None:
    assert not ours(project, {".gitignore": [line]}, "b")
    assert ours(project, {".gitignore": [line, "b"]}, "b")


@pytest.mark.parametrize("line", ["*a" * 30 + "b", "**/a/" * 30 + "b", "/".join(["*a*a"] * 20)])
def test_a_line_that_could_take_for_ever_says_nothing(project: Project, line: str) -> None:
    began = time.monotonic()
    assert not ours(project, {".gitignore": [line]}, "/".join(["a" * 200] * 5))
    assert ours(project, {".gitignore": [line, "c.log"]}, "c.log")
    assert time.monotonic() - began < 5  # hours, for an expression that backtracks


def test_a_file_larger_than_any_says_nothing(project: Project) -> None:
    lines = ["c.log", *["a" * 1023] * 128]
    assert ours(project, {".gitignore": lines[:-1]}, "c.log")
    assert not ours(project, {".gitignore": lines}, "c.log")


def test_a_link_is_no_ignore_file(project: Project) -> None:
    clone = project.clone
    tree = project.raw_tree(("120000", b".gitignore", project.blob(b"*")))
    ignored = Ignored(clone, {entry.path: entry for entry in trees.entries(clone, tree)}.get, [])
    assert not ignored.match(b"a", folder=False)


def test_the_policys_patterns_come_first(project: Project) -> None:
    ignored = Ignored(project.clone, {}.get, ["__pycache__/", "*.pyc"])
    assert ignored.match(b"src/__pycache__", folder=True)
    assert not ignored.match(b"src/__pycache__", folder=False)
    assert ignored.match(b"x.pyc", folder=False)
    assert ignored.match(b"\xff.pyc", folder=False)
