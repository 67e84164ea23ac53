"""Whether a record only grew, and whether somebody's request began it: in a real repository, with real signatures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.carried import Carried, carried
from support.trust import TEAM, ended, root_of

from agent_pipeline.audit import asked
from agent_pipeline.audit.whole import Audit
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.errors import RejectedError, SchemaError
from agent_pipeline.repository import growth
from agent_pipeline.repository.records import REQUESTS, Record


@pytest.fixture
def made(tmp_path: Path) -> Carried:
    return carried(tmp_path / "project", "merged")


def record_of(made: Carried, tip: str | None = None) -> Record:
    return Record(made.id, tip or made.tip, made.clone)


def left(made: Carried, until: int, *, revoked: bool) -> TrustRoot:
    """The root in which who asked has gone."""
    root, name = made.maker.root, made.maker.requester
    others = root_of({who: roles for who, roles in TEAM.items() if who != name}, bots=("robot",))
    return replace(others, version=2, former=ended(root, until, name, revoked=revoked))


def test_a_record_that_grew_has_no_cuts(made: Carried) -> None:
    record = record_of(made)
    history = record.history()
    assert list(growth.cuts(record)) == []
    assert all(growth.grew(made.clone, older, record.tip) for older in history)
    assert not growth.grew(made.clone, history[0], history[1])


def test_what_a_step_takes_away_is_named(made: Carried) -> None:
    folder = made.project.git("rev-parse", f"{made.tip}:1")
    rows = [line.split(maxsplit=3) for line in made.project.git("ls-tree", folder).splitlines()]
    fewer = made.project.raw_tree(
        *((mode.lstrip("0"), name.encode(), oid) for mode, _, oid, name in rows if name != "proposal.json")
    )
    asked_ = made.project.git("rev-parse", f"{made.tip}:request.dsse.json")
    tree = made.project.raw_tree(("40000", b"1", fewer), ("100644", b"request.dsse.json", asked_))
    worse = made.project.git("commit-tree", tree, "-p", made.tip, "-m", "Record")
    (cut,) = growth.cuts(record_of(made, worse))
    assert (cut.commit, cut.what) == (worse, "takes away or exchanges 1/proposal.json")
    assert not growth.grew(made.clone, made.tip, worse)


def test_steps_of_endless_directories_are_not_unfolded(made: Carried) -> None:
    def bomb(name: bytes) -> str:
        inner = made.project.raw_tree((("100644"), name, made.project.blob(name)))
        for _ in range(8):
            inner = made.project.raw_tree(*(("40000", b"d%03d" % number, inner) for number in range(10)))
        return inner

    first = made.project.git("commit-tree", bomb(b"a"), "-m", "Record")
    second = made.project.git("commit-tree", bomb(b"b"), "-p", first, "-m", "Record")
    (cut,) = growth.cuts(record_of(made, second))
    assert cut.what.endswith("/a")


def test_so_many_steps_are_looked_at_and_no_more(made: Carried) -> None:
    empty = made.project.blob(b"")
    rows = [("100644", b"%05d" % number, empty) for number in range(10_000)]
    trees = [made.project.raw_tree(*rows, ("100644", name, rows[0][2])) for name in (b"x", b"y")]
    tip = made.project.git("commit-tree", trees[0], "-m", "Record")
    for number in range(12):
        tip = made.project.git("commit-tree", trees[number % 2], "-p", tip, "-m", "Record")
    with pytest.raises(SchemaError, match="entries of directories"):
        list(growth.cuts(record_of(made, tip)))


def test_who_left_in_good_order_asked_all_the_same_and_a_thief_did_not(made: Carried) -> None:
    record = record_of(made)
    asked.check(record, made.maker.root, None)
    asked.check(record, left(made, 0, revoked=False), None)
    asked.check(record, left(made, 5, revoked=True), 4)
    for at in (None, 5):
        with pytest.raises(RejectedError, match="was revoked"):
            asked.check(record, left(made, 5, revoked=True), at)


def test_what_git_refuses_to_fetch_is_a_finding(tmp_path: Path) -> None:
    made = carried(tmp_path / "project", "approved")
    assert list(Audit(made.desk).findings()) == []
    (found,) = Audit(replace(made.desk, left_out=(REQUESTS + "a" * 16, "refs/heads/odd"))).findings()
    assert (found.ref, "cannot be fetched" in found.what) == (REQUESTS + "a" * 16, True)
