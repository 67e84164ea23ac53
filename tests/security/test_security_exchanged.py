"""Commits that were exchanged for others with the same message: `audit verify` asks who signed what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.hostile import HostileRunner, signer
from support.people import Person
from support.teams import MAIN, Team

from agent_pipeline import clock
from agent_pipeline.repository import commits

pytestmark = pytest.mark.containers

At = Callable[[str], Team]
EVIL = b"def mean(values):\n    return 42.0\n"
TREES = "refs/attestations/trees"


def audited(person: Person) -> list[dict[str, Any]]:
    """What somebody's `audit verify` finds."""
    done = person.run("audit", "verify", "--json")
    assert done.code == (1 if done.document["findings"] else 0), str(done)
    assert done.document["holds"] == (done.code == 0)
    return list(done.document["findings"])


def message(team: Team, commit: str) -> str:
    return team.mallory.git("log", "-1", "--format=%B", commit) + "\n"


def parents(team: Team, commit: str) -> list[str]:
    return team.mallory.git("rev-list", "--parents", "-1", commit).split()[1:]


def tree(team: Team, commit: str) -> str:
    return team.mallory.git("rev-parse", f"{commit}^{{tree}}")


def evil(team: Team, commit: str) -> str:
    """The tree of a commit with a back door."""
    return team.mallory.tree({**team.mallory.files(commit), "calc.py": EVIL})


def signed(team: Team, person: Person, tree: str, onto: list[str], words: str) -> str:
    """A commit that somebody signed with his own key, brought to Mallory."""
    clone = HostileRunner(team).clone
    team.alice.git("fetch", "-q", str(team.mallory.folder), "+refs/*:refs/mallorys/*")
    draft = commits.draft(clone, tree, onto, words, "Ci", "ci@example.org", clock.now())
    made = commits.write(clone, draft, signer(person).commit(draft))
    team.alice.git("push", "-q", "--force", str(team.mallory.folder), f"{made}:refs/made/{made}")
    return made


def kept(team: Team, old: str, new: str) -> None:
    """Keep the proofs of the tree `old` as those of `new`."""
    files = team.mallory.files(TREES)
    files[new] = files[old]
    team.mallory.push(TREES, team.mallory.commit(team.mallory.tree(files), team.mallory.ref(TREES)))


def held(team: Team, tree: str) -> str:
    """Bring a tree to where commits are signed."""
    team.mallory.git("update-ref", f"refs/held/{tree}", team.mallory.commit(tree))
    return tree


def told(team: Team, ref: str, *wanted: str) -> None:
    """Whoever audits finds exactly these, with where and what to do."""
    for person in (team.rosa, team.ci):
        found = audited(person)
        assert len(found) == len(wanted), found
        for row, words in zip(found, wanted, strict=True):
            assert words in row["what"], row
            assert row["ref"] == ref
            assert row["committer"]
            assert row["todo"]


def test_a_merge_that_was_exchanged_for_one_with_the_same_message_is_found(at: At) -> None:
    team = at("merged")
    assert audited(team.rosa) == []
    mallory, merge = team.mallory, str(team.tip())
    words, (base, staged), good = message(team, merge), parents(team, merge), tree(team, merge)
    bad = held(team, evil(team, merge))
    other = mallory.commit(good, base, message=message(team, staged))
    mallory.git("update-ref", "refs/held/other", other)
    kept(team, good, bad)
    none = "is not the one that entry 1 says was made: it is not signed"
    of_tree = f"its tree is {bad[:12]}, that of the signed proposal is {good[:12]}"
    ci, rosa = team.ci, team.rosa
    for made, wanted in (
        (mallory.commit(bad, base, staged, message=words), (none, of_tree)),
        (mallory.commit(good, base, staged, message=words), (none,)),
        (signed(team, rosa, good, [base, staged], words), ("rosa signed this but is no merger",)),
        (signed(team, ci, bad, [base, staged], words), (of_tree,)),  # not even by who may merge
        (signed(team, ci, good, [base, other], words), ("is not what CI staged: it is not signed",)),
        (
            signed(team, ci, good, [parents(team, base)[0], staged], words),
            ("its first parent is not the proposal's base",),
        ),
        (signed(team, ci, good, [base], words), ("it has 1 parents",)),
        (
            signed(team, ci, good, [base, staged], words.replace("sha256:", "sha256:0")),
            ("its message names another proposal",),
        ),
    ):
        mallory.push(MAIN, made)
        told(team, MAIN, *wanted)
    mallory.push(MAIN, merge)
    assert audited(team.rosa) == []


def test_a_second_commit_with_the_message_of_a_merge_does_not_stand_for_it(at: At) -> None:
    team = at("merged")
    merge = str(team.tip())
    twin = team.mallory.commit(evil(team, merge), merge, message=message(team, merge))
    team.mallory.push(MAIN, twin)
    (found,) = audited(team.rosa)
    assert f"merge {twin[:12]} on {MAIN} says it is an agent's change, and no entry of the log is about it" in str(
        found
    )


def test_a_merge_stands_after_its_merger_has_left(at: At) -> None:
    team = at("merged")
    team.alice.yes("trust", "remove", "ci")
    assert audited(team.rosa) == []


def test_a_staged_branch_that_was_exchanged_for_one_with_the_same_message_is_found(at: At) -> None:
    team = at("approved")
    assert audited(team.rosa) == []
    mallory, ref = team.mallory, f"refs/heads/agent/{team.id}"
    staged = mallory.ref(ref)
    words, onto, good = message(team, staged), parents(team, staged), tree(team, staged)
    bad = held(team, evil(team, staged))
    orphan = signed(team, team.ci, good, [], words)
    for made, wanted in (
        (mallory.commit(bad, *onto, message=words), f"it is not signed; its tree is {bad[:12]}"),
        (mallory.commit(good, *onto, message=words), "(it is not signed)"),
        (signed(team, team.rosa, good, onto, words), "rosa signed this but is no ci"),
        (signed(team, team.ci, bad, onto, words), f"(its tree is {bad[:12]}, that of the signed proposal is"),
        (orphan, "its only parent is not the proposal's base"),
        (signed(team, team.ci, good, [*onto, orphan], words), "its only parent is not the proposal's base"),
        (signed(team, team.ci, good, onto, "Another one\n"), "its message names another proposal"),
    ):
        mallory.push(ref, made)
        told(team, ref, wanted)
    mallory.push(ref, staged)
    assert audited(team.rosa) == []
