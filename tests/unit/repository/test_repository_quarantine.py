"""Objects of a stranger: looked at by Git's strictest check, apart, before anything else reads them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.gitrepos import make_project

from agent_pipeline.documents.git_object import KINDS, GitObject
from agent_pipeline.errors import GitError, SchemaError
from agent_pipeline.repository.quarantine import admit, quarantined

BLOB = GitObject("blob", b"content")
WHO = b"Ada <ada@example.org> 1704164645 +0000"


def tree(*rows: tuple[bytes, bytes, str]) -> GitObject:
    return GitObject("tree", b"".join(mode + b" " + name + b"\0" + bytes.fromhex(oid) for mode, name, oid in rows))


def commit(tree_: str, *parents: str) -> GitObject:
    lines = [b"tree " + tree_.encode(), *(b"parent " + one.encode() for one in parents)]
    return GitObject("commit", b"\n".join([*lines, b"author " + WHO, b"committer " + WHO]) + b"\n\nmessage\n")


def looked_at(*objects: GitObject) -> list[str]:
    with quarantined(objects) as clone:
        assert clone.refs("refs/") == {}
        return [str(oid) for oid in clone.objects]


GONE = "1" * 40
GOOD = {
    "one file": [BLOB],
    "nothing": [],
    "a folder without its files": [
        tree((b"100644", b"a", GONE), (b"40000", b"b", "2" * 40), (b"160000", b"c", "3" * 40))
    ],
    "a commit without its tree and parents": [commit("2" * 40, "3" * 40)],
    "Git's own files are missing": [tree((b"100644", b".gitattributes", GONE), (b"100644", b".gitmodules", GONE))],
    "many": [GitObject("blob", b"%d" % number) for number in range(3000)],
    "long": [GitObject("blob", b"x" * (3 << 20))],
}


@pytest.mark.parametrize("objects", GOOD.values(), ids=GOOD)
def test_what_is_sound_is_held_and_nothing_beside_it(objects: Sequence[GitObject]) -> None:
    assert sorted(looked_at(*objects)) == sorted(one.name() for one in objects)


BAD = {
    "a folder called .git": tree((b"40000", b".git", GONE)),
    "a folder that some take for .git": tree((b"40000", b"GIT~1", GONE)),
    "invisible": tree((b"40000", b".g\xe2\x80\x8cit", GONE)),
    "up": tree((b"40000", b"..", GONE)),
    "a name with a slash": tree((b"100644", b"a/b", GONE)),
    "an empty name": tree((b"100644", b"", GONE)),
    "one name twice": tree((b"100644", b"a", GONE), (b"100644", b"a", BLOB.name())),
    "out of order": tree((b"100644", b"b", GONE), (b"100644", b"a", GONE)),
    "a mode with zeros": tree((b"0100644", b"a", GONE)),
    "one id for a file and a folder": tree((b"100644", b"a", GONE), (b"40000", b"b", GONE)),
    "cut off": GitObject("tree", b"100644 a\0123"),
    "no tree": GitObject("tree", b"\xff\xfe"),
    "a commit without a tree": GitObject("commit", b"author " + WHO + b"\n\nx\n"),
    "a commit of nothing": GitObject("commit", b""),
    "a NUL in a commit": GitObject("commit", commit(GONE).content.replace(b"message", b"mes\0sage")),
    "a name without an end": GitObject("commit", commit(GONE).content.replace(b"Ada <", b"Ada <<")),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_what_git_refuses_gets_no_further(bad: GitObject) -> None:
    with pytest.raises(SchemaError, match="Git's checks refuse"):
        looked_at(BLOB, bad)


def test_git_modules_that_attack_are_refused() -> None:
    url = GitObject("blob", b'[submodule "x"]\n\tpath = x\n\turl = -u./payload\n')
    with pytest.raises(SchemaError, match="Git's checks refuse"):
        looked_at(url, tree((b"100644", b".gitmodules", url.name())))


def test_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # nobody else's are there
    looked_at(BLOB)
    with pytest.raises(SchemaError):
        looked_at(BAD["no tree"])
    assert not list(tmp_path.glob("agent-pipeline-bundle-*"))


def test_objects_are_let_in_only_with_everything_that_they_need(tmp_path: Path) -> None:
    project = make_project(tmp_path / "r")
    clone = project.clone
    held = project.git("rev-parse", "HEAD:README")
    admit(
        clone, [whole := tree((b"100644", b"a", held)), step := commit(whole.name(), project.git("rev-parse", "HEAD"))]
    )
    assert clone.tree(step.name()) == whole.name()
    for lacking in (tree((b"100644", b"b", GONE)), commit(whole.name(), GONE)):
        with pytest.raises(SchemaError):
            admit(clone, [lacking])
        with pytest.raises(GitError):
            clone.size(lacking.name())


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KINDS), st.binary(max_size=200)), max_size=5))
def test_random_objects_end_in_our_own_errors(rows: list[tuple[str, bytes]]) -> None:
    objects = {one.name(): one for one in (GitObject(*row) for row in rows)}
    with contextlib.suppress(SchemaError):
        assert sorted(looked_at(*objects.values())) == sorted(objects)
