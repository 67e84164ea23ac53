"""Building, comparing and cross-checking trees: honest ones round-trip, hostile ones are refused."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.gitrepos import Project, make_project

from agent_pipeline.documents.proposal import DELETE, Change
from agent_pipeline.errors import GitError, PathError, SchemaError
from agent_pipeline.repository import trees
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.trees import EXECUTABLE, FILE, Put

BASE = {"README": b"hello\n", "src/app/main.py": b"print()\n", "src/app/util.py": b"x = 1\n", "docs/a.md": b"# a\n"}


def put(data: bytes = b"new\n", mode: str = FILE) -> Put:
    return Put(data, mode)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = make_project(tmp_path / "p", BASE)
    (made.folder / "link").symlink_to("src")
    made.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},vendor/lib")
    made.git("add", "link")
    made.git("commit", "--quiet", "-m", "link and submodule")
    return made


@pytest.fixture
def clone(project: Project) -> Clone:
    return project.clone


@pytest.fixture
def base(clone: Clone) -> str:
    return clone.tree(clone.commit("HEAD"))


def test_entries(clone: Clone, base: str, project: Project) -> None:
    listed = [f"{e.mode} {e.oid}\t{e.path.decode()}" for e in trees.entries(clone, base)]
    told = [
        line.replace(" blob ", " ").replace(" commit ", " ") for line in project.git("ls-tree", "-r", base).split("\n")
    ]
    assert listed == told


def test_build_agrees_with_git(clone: Clone, base: str, project: Project) -> None:
    changes: dict[str, Put | None] = {
        "README": put(b""),
        "src/app/main.py": put(mode=EXECUTABLE),
        "src/new/deep/file.txt": put(b"\r\n\0"),
        "docs/a.md": None,
    }
    tree = trees.build(clone, base, changes)
    project.git("rm", "--quiet", "docs/a.md")
    project.write({"README": b"", "src/app/main.py": b"new\n", "src/new/deep/file.txt": b"\r\n\0"})
    project.git("update-index", "--add", "README", "src/new/deep/file.txt", "src/app/main.py")
    project.git("update-index", "--chmod=+x", "src/app/main.py")
    assert tree == project.git("write-tree", "--missing-ok")
    found = trees.compare(clone, base, tree)
    assert [(change.path, change.op) for change in found] == [
        ("README", "put"),
        ("docs/a.md", "delete"),
        ("src/app/main.py", "put"),
        ("src/new/deep/file.txt", "put"),
    ]
    assert found[0].size == 0
    assert found[1].base_mode == FILE
    assert found[2].mode == EXECUTABLE
    assert found[2].base_object == project.git("rev-parse", "HEAD:src/app/main.py")
    assert found[3].base_object is None
    trees.cross_check(clone, base, tree, found)


def test_a_file_makes_way_for_a_directory_and_back(clone: Clone, base: str) -> None:
    tree = trees.build(clone, base, {"README": None, "README/a": put()})
    found = trees.compare(clone, base, tree)
    assert [(c.path, c.op) for c in found] == [("README", "delete"), ("README/a", "put")]
    trees.cross_check(clone, base, tree, found)
    back = trees.build(clone, tree, {"README/a": None, "README": put()})
    again = trees.compare(clone, tree, back)
    assert [(c.path, c.op) for c in again] == [("README", "put"), ("README/a", "delete")]
    trees.cross_check(clone, tree, back, again)


def test_everything_deleted_leaves_the_empty_tree(tmp_path: Path) -> None:
    project = make_project(tmp_path / "e", {"a/b": b"1", "c": b"2"})
    clone = project.clone
    base = clone.tree(clone.commit("HEAD"))
    tree = trees.build(clone, base, {"a/b": None, "c": None})
    assert list(trees.entries(clone, tree)) == []
    trees.cross_check(clone, base, tree, trees.compare(clone, base, tree))


REFUSED: dict[str, Mapping[str, Put | None]] = {
    "parent": {"../evil": put()},
    "git directory": {".git/config": put()},
    "git directory below": {"src/.GIT/config": put()},
    "modules": {".gitmodules": put()},
    "delete what is not there": {"nope": None},
    "delete below what is not there": {"nope/a": None},
    "delete a directory": {"src": None},
    "delete below a file": {"README/a": None},
    "delete nothing": {"": None},
    "delete with odd slashes": {"/README": None},
    "put over a directory": {"src": put()},
    "put below a file": {"README/a": put()},
    "put below a new file": {"n": put(), "n/a": put()},
    "put over a link": {"link": put()},
    "put below a link": {"link/app/main.py": put()},
    "put below a link that is deleted": {"link": None, "link/a": put()},
    "delete through a link": {"link/app/main.py": None},
    "put over a submodule": {"vendor/lib": put()},
    "put below a submodule": {"vendor/lib/a": put()},
    "case collision with the base": {"readme": put()},
    "case collision of a directory": {"SRC/a": put()},
    "case collision deeper": {"src/app/MAIN.py": put()},
    "case collision within": {"a/New": put(), "a/new": put()},
    "case collision file and directory": {"NEW": put(), "new/a": put()},
    "sharp s": {"stra\u00dfe": put(), "STRASSE": put()},
    "link mode": {"a": Put(b"/etc/passwd", "120000")},
    "submodule mode": {"a": Put(b"", "160000")},
    "group writable": {"a": Put(b"", "100664")},
    "setuid": {"a": Put(b"", "104755")},
    "bytes that are no text": {"a\udcff": None},
}


@pytest.mark.parametrize("changes", REFUSED.values(), ids=REFUSED.keys())
def test_build_refuses(clone: Clone, base: str, changes: Mapping[str, Put | None]) -> None:
    with pytest.raises(PathError) as raised:
        trees.build(clone, base, changes)
    assert raised.value.hint


def test_renaming_by_case_is_no_collision(clone: Clone, base: str) -> None:
    tree = trees.build(clone, base, {"README": None, "readme": put()})
    trees.cross_check(clone, base, tree, trees.compare(clone, base, tree))


def test_odd_paths_of_the_base_can_be_deleted_and_stay_beside_changes(project: Project) -> None:
    blob = project.blob(b"1")
    base = project.raw_tree(
        ("100644", b"A", blob), ("100644", b"a", blob), ("100644", b"aux.c", blob), ("100644", b"b\xff", blob)
    )
    clone = project.clone
    tree = trees.build(clone, base, {"aux.c": None, "b": put()})
    assert [entry.path for entry in trees.entries(clone, tree)] == [b"A", b"a", b"b", b"b\xff"]
    changes = trees.compare(clone, base, tree)
    assert [change.path for change in changes] == ["aux.c", "b"]
    trees.cross_check(clone, base, tree, changes)
    with pytest.raises(PathError, match="device"):
        trees.build(clone, base, {"aux.c": put()})


def hostile_trees(project: Project) -> dict[str, str]:
    blob, link = project.blob(b"1"), project.blob(b"/etc/passwd")
    inner = project.raw_tree(("100644", b"x", blob))
    git_dir = project.raw_tree(("100644", b"config", blob))
    return {
        "link": project.raw_tree(("120000", b"a", link)),
        "submodule": project.raw_tree(("160000", b"a", "1" * 40)),
        "git directory": project.raw_tree(("40000", b".git", git_dir)),
        "git directory in capitals": project.raw_tree(("40000", b".GIT", git_dir)),
        "git directory, invisible": project.raw_tree(("40000", ".g\u200cit".encode(), git_dir)),
        "short name": project.raw_tree(("40000", b"git~1", git_dir)),
        "parent": project.raw_tree(("40000", b"..", inner)),
        "slash": project.raw_tree(("100644", b"a/b", blob)),
        "twice": project.raw_tree(("100644", b"a", blob), ("100644", b"a", blob)),
        "link and directory": project.raw_tree(("120000", b"a", link), ("40000", b"a", inner)),
        "no UTF-8": project.raw_tree(("100644", b"a\xff", blob)),
        "control character": project.raw_tree(("100644", b"a\x1b[2J", blob)),
        "modules": project.raw_tree(("100644", b".gitmodules", blob)),
    }


HOSTILE = (
    "link",
    "submodule",
    "git directory",
    "git directory in capitals",
    "git directory, invisible",
    "short name",
    "parent",
    "slash",
    "twice",
    "link and directory",
    "no UTF-8",
    "control character",
    "modules",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_compare_refuses_hostile_trees(project: Project, clone: Clone, name: str) -> None:
    with pytest.raises(PathError):
        trees.compare(clone, project.raw_tree(), hostile_trees(project)[name])


def test_all_hostile_trees_are_tried(project: Project) -> None:
    assert set(hostile_trees(project)) == set(HOSTILE)


def test_damaged_and_missing_trees_are_git_errors(project: Project, clone: Clone, base: str) -> None:
    blob = project.blob(b"1")
    missing, wrong = project.raw_tree(("40000", b"a", "0" * 40)), project.raw_tree(("40000", b"a", blob))
    for tree in ("0" * 40, blob, missing, wrong):
        with pytest.raises(GitError):
            trees.compare(clone, base, tree)
        with pytest.raises(GitError):
            list(trees.entries(clone, tree))
        with pytest.raises(GitError):
            trees.build(clone, tree, {"a/b": put()})


def test_unsorted_and_odd_modes_do_not_pass_the_second_opinion(project: Project, clone: Clone) -> None:
    blob, empty = project.blob(b"1"), project.raw_tree()
    hostile = {
        "unsorted": project.raw_tree(("100644", b"b", blob), ("100644", b"a", blob)),
        "odd mode": project.raw_tree(("777", b"a", blob)),
        "group writable": project.raw_tree(("100664", b"a", blob)),
        "case collision": project.raw_tree(("100644", b"A", blob), ("100644", b"a", blob)),
        "zero padded": project.raw_tree(("0100644", b"a", blob)),
    }
    for tree in hostile.values():
        seen = trees.compare(clone, empty, tree)
        with pytest.raises(PathError):
            trees.cross_check(clone, empty, tree, seen)


def test_tree_bomb_is_refused_quickly(project: Project, clone: Clone, base: str) -> None:
    """Thirty levels of ten equal directories unfold to 10^30 files."""
    tree = project.raw_tree(*(("100644", b"%d" % i, project.blob(b"1")) for i in range(10)))
    for _ in range(30):
        tree = project.raw_tree(*(("40000", b"%d" % i, tree) for i in range(10)))
    before = time.monotonic()
    with pytest.raises(PathError, match="paths differ"):
        trees.compare(clone, base, tree)
    assert time.monotonic() - before < 10


def test_content_bomb_is_refused_unread(project: Project, clone: Clone, base: str, tmp_path: Path) -> None:
    """300 MB of zeros travel as 300 kB."""
    with (tmp_path / "zeros").open("wb") as file:
        file.truncate(300 << 20)
    bomb = project.git("hash-object", "-w", str(tmp_path / "zeros"))
    tree = project.raw_tree(("100644", b"a", bomb))
    with pytest.raises((PathError, SchemaError), match="bytes"):
        trees.compare(clone, base, tree)


def test_a_lie_about_the_change_does_not_pass_the_second_opinion(clone: Clone, base: str) -> None:
    tree = trees.build(clone, base, {"README": put(), "docs/a.md": None})
    truth = trees.compare(clone, base, tree)
    wrong: list[tuple[Change, ...]] = [
        truth[1:],
        truth[:1],
        (*truth, truth[0]),
        (*truth, Change("docs/b.md", DELETE, base_object=truth[0].object, base_mode=FILE)),
        (replace(truth[0], mode=EXECUTABLE), truth[1]),
        (replace(truth[0], object=truth[0].base_object), truth[1]),
        (replace(truth[0], base_object=None, base_mode=None), truth[1]),
    ]
    trees.cross_check(clone, base, tree, truth)
    for lie in wrong:
        with pytest.raises(PathError, match="same change"):
            trees.cross_check(clone, base, tree, lie)


def test_cross_check_leaves_nothing_behind(clone: Clone, base: str, project: Project) -> None:
    tree = trees.build(clone, base, {"README": put()})
    before = sorted((project.folder / ".git").rglob("*"))
    trees.cross_check(clone, base, tree, trees.compare(clone, base, tree))
    assert sorted((project.folder / ".git").rglob("*")) == before


def test_diff_hides_nothing(project: Project) -> None:
    project.commit({".gitattributes": b"* -diff\n*.txt diff=evil\n"})
    project.git("config", "diff.evil.textconv", f"touch {project.folder}/ran; echo")
    project.git("config", "diff.external", f"touch {project.folder}/ran; echo")
    clone = project.clone
    base = clone.tree(clone.commit("HEAD"))
    tree = trees.build(
        clone,
        base,
        {
            "a.txt": put("if x: # \u202e\u2066\x1b[2J\n\tü\r\n".encode()),
            "b": put(b"caf\xe9\n"),
            "run.sh": put(b"#!/bin/sh\n# \0\nrm -r /\n", EXECUTABLE),  # a shell runs it
        },
    )
    shown = trees.diff(clone, base, tree)
    assert "+if x: # \\u202e\\u2066\\x1b[2J\n+\tü\\r\n" in shown
    assert "+caf\\udce9" in shown
    assert "+# \\x00\n+rm -r /\n" in shown
    assert not (project.folder / "ran").exists()


def test_build_on_a_large_base_is_quick(tmp_path: Path) -> None:
    project = make_project(tmp_path / "big", {"a": b"1"})
    blob = project.git("rev-parse", "HEAD:a")
    leaf = project.raw_tree(*(("100644", b"f%03d" % i, blob) for i in range(100)))
    middle = project.raw_tree(*(("40000", b"d%03d" % i, leaf) for i in range(100)))
    base = project.raw_tree(*(("40000", b"t%d" % i, middle) for i in range(10)))
    clone = project.clone
    changes = {f"t{i % 10}/d{i:03}/f{i:03}": put() for i in range(19)} | {"t0/d000/new": put()}
    seconds = min(_timed(lambda: trees.build(clone, base, changes)) for _ in range(5))
    assert sum(1 for _ in trees.entries(clone, base)) == 100_000
    assert seconds < 0.05, f"{seconds * 1000:.1f} ms"


def _timed(call: object) -> float:
    before = time.perf_counter()
    assert callable(call)
    call()
    return time.perf_counter() - before


NAMES = st.sampled_from(["a", "b", "C", "d.txt", "\u00e9", "x y"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
PUTS = st.builds(Put, st.binary(max_size=8), st.sampled_from([FILE, EXECUTABLE]))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.dictionaries(PATHS, PUTS, max_size=6), second=st.dictionaries(PATHS, PUTS, max_size=6))
def test_compare_and_build_are_each_others_inverse(
    project: Project, first: dict[str, Put], second: dict[str, Put]
) -> None:
    clone, empty = project.clone, project.clone.objects.TreeBuilder().write()
    try:
        one, two = (trees.build(clone, str(empty), files) for files in (first, second))
    except PathError:
        return  # a file and a directory of one name
    changes = trees.compare(clone, one, two)
    names = {path for path in first | second if first.get(path) != second.get(path)}
    assert {change.path for change in changes} == names
    manifest = {
        change.path: Put(clone.blob(change.object), change.mode) if change.object and change.mode else None
        for change in changes
    }
    assert trees.build(clone, one, manifest) == two
    trees.cross_check(clone, one, two, changes)


def test_a_clone_in_a_directory_with_an_odd_name(tmp_path: Path) -> None:
    project = make_project(tmp_path / 'a:b "c" \\d', BASE)
    clone = project.clone
    base = clone.tree(clone.commit("HEAD"))
    tree = trees.build(clone, base, {"README": put(), "src/app/util.py": None})
    trees.cross_check(clone, base, tree, trees.compare(clone, base, tree))


ROWS = st.tuples(
    st.sampled_from(["100644", "100755", "100664", "777", "0", "120000", "160000", "040000"]),
    st.sampled_from([b"a", b"b", b"A", b".git", b"..", b"a/b", b"", b"\xff", b"con", b"\xc3\xa9"]),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROWS, max_size=4), cut=st.integers(0, 3), inner=st.lists(ROWS, max_size=2))
def test_whatever_passes_both_opinions_is_what_its_manifest_builds(
    project: Project, rows: list[tuple[str, bytes]], cut: int, inner: list[tuple[str, bytes]]
) -> None:
    """Trees as an attacker writes them, byte by byte: refused, or exactly what they seem to be."""
    clone = project.clone
    blob, empty = project.blob(b"1"), str(clone.objects.TreeBuilder().write())
    below = project.raw_tree(*(row for row in ((mode, name, blob) for mode, name in inner)))
    raw = b"".join(
        mode.encode() + b" " + name + b"\0" + bytes.fromhex(below if mode == "040000" else blob) for mode, name in rows
    )
    tree = project.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=raw[: len(raw) - cut])
    try:
        changes = trees.compare(clone, empty, tree)
        trees.cross_check(clone, empty, tree, changes)
    except (PathError, GitError):
        return
    listed = {entry.path.decode(): (entry.mode, entry.oid) for entry in trees.entries(clone, tree)}
    assert listed == {change.path: (change.mode, change.object) for change in changes}
    manifest = {c.path: Put(clone.blob(c.object), c.mode) for c in changes if c.object and c.mode}
    assert trees.build(clone, empty, manifest) == tree
