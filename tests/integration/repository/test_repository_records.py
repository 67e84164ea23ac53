"""Records only grow, carriers are computable, and everything is published or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.gitrepos import Project, clone_of, make_bare, make_project

from agent_pipeline.errors import GitError, SchemaError, StaleError, UsageError
from agent_pipeline.repository import records, remotes, trees
from agent_pipeline.repository.records import REQUESTS, Record
from agent_pipeline.repository.refs import RefUpdate
from agent_pipeline.repository.trees import FILE, Put

ID = "abcdefghijkl2345"
OTHER = "abcdxxxxxxxx2222"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "ada")


def start(project: Project, name: str = ID) -> Record:
    tip = records.extend(project.clone, None, name, {"request.dsse.json": b"{}"})
    records.publish(project.clone, [RefUpdate(REQUESTS + name, None, tip)], remote=None)
    return records.find(project.clone, name, None)


def test_a_record_from_request_to_proposal(project: Project) -> None:
    clone = project.clone
    record = start(project)
    base = clone.commit("HEAD")
    tree = trees.build(clone, clone.tree(base), {"a": Put(b"1", FILE)})
    carrier = records.carrier(clone, base, tree)
    files = {
        "1/proposal.json": b"{1}",
        "1/transcript.jsonl": b"",
        "1/attestations/provenance.abc.dsse.json": b"{2}",
        "1/reports/run.json": b"{3}",
    }
    second = Record(ID, records.extend(clone, record, ID, files, carrier), clone)
    third = Record(ID, records.extend(clone, second, ID, {"1/attestations/x.dsse.json": b"{4}"}), clone)
    assert clone.ref(REQUESTS + ID) == record.tip, "making a commit moves no ref"
    assert third.files() == tuple(sorted([*files, "request.dsse.json", "1/attestations/x.dsse.json"]))
    assert third.proposals() == (1,)
    assert third.attestations(1) == {"provenance.abc.dsse.json": b"{2}", "x.dsse.json": b"{4}"}
    assert third.read("1/proposal.json") == b"{1}"
    assert third.read("nope") is None
    assert third.carrier(1) == carrier
    assert third.carrier(2) is None
    assert clone.parents(second.tip) == (record.tip, carrier)
    assert third.history() == (third.tip, second.tip, record.tip)


def test_a_carrier_is_computable_by_anyone(project: Project, tmp_path: Path) -> None:
    clone = project.clone
    base = clone.commit("HEAD")
    carrier = records.carrier(clone, base, clone.tree(base))
    other = make_project(tmp_path / "bob").clone
    assert records.carrier(other, other.commit("HEAD"), other.tree(other.commit("HEAD"))) == carrier
    assert clone.parents(carrier) == (base,)
    assert project.git("log", "-1", "--format=%an %at", carrier) == "agent-pipeline 946684800"


def test_a_record_never_replaces_a_file(project: Project) -> None:
    record = start(project)
    with pytest.raises(StaleError, match="already holds another"):
        records.extend(project.clone, record, ID, {"request.dsse.json": b"[]"})
    records.extend(project.clone, record, ID, {"request.dsse.json": b"{}", "1/x.json": b""})


@pytest.mark.parametrize("path", ["../x", "/x", ".git/x", "request.dsse.json/x", "a\nb"])
def test_paths_that_a_record_does_not_take(project: Project, path: str) -> None:
    with pytest.raises(SchemaError):
        records.extend(project.clone, start(project), ID, {path: b"1"})


def test_finding(project: Project) -> None:
    start(project)
    start(project, OTHER)
    clone = project.clone
    assert records.find(clone, "abcde", None).id == ID
    assert records.find(clone, ID, None).id == ID
    assert records.find(clone, f"{OTHER}.3", None).id == OTHER
    for prefix, word in (
        ("abcd", "begins 2 ids"),
        ("b", "there is no request"),
        ("ABC", "is no request"),
        ("", "is no"),
    ):
        with pytest.raises(UsageError, match=word) as raised:
            records.find(clone, prefix, None)
        assert raised.value.hint
    assert [record.id for record in records.all_records(clone, None)] == [ID, OTHER]


def test_ids() -> None:
    assert records.split_id("abc") == ("abc", None)
    assert records.split_id("abc.12") == ("abc", 12)
    for name in ("abc.", "abc.0", ".1", "abc.1.2", "a/b", "-x", "abc.01", "0abc", "a" * 17, "abc.9999999", "abc\n"):
        with pytest.raises(UsageError):
            records.split_id(name)


def test_a_lost_race_between_two_steps(project: Project) -> None:
    clone, record = project.clone, start(project)
    one = records.extend(clone, record, ID, {"1/a.json": b"1"})
    two = records.extend(clone, record, ID, {"1/b.json": b"2"})
    records.publish(clone, [RefUpdate(REQUESTS + ID, record.tip, one)], remote=None)
    with pytest.raises(StaleError, match=ID):
        records.publish(clone, [RefUpdate(REQUESTS + ID, record.tip, two)], remote=None)
    assert clone.ref(REQUESTS + ID) == one


def test_hostile_records_are_bounded_and_harm_nobody(project: Project) -> None:
    blob = project.blob(b"1")
    bomb = project.raw_tree(*(("100644", b"%d" % i, blob) for i in range(100)))
    for _ in range(10):
        bomb = project.raw_tree(*(("40000", b"%d" % i, bomb) for i in range(100)))
    hostile = {
        "bombbombbombbomb": project.raw_commit(bomb),
        "linklinklinklink": project.raw_commit(project.raw_tree(("120000", b"request.dsse.json", blob))),
        "namenamenamename": project.raw_commit(project.raw_tree(("100644", b"a\xff", blob))),
    }
    for name, commit in hostile.items():
        project.git("update-ref", REQUESTS + name, commit)
    project.git("update-ref", f"{REQUESTS}blobblobblobblob", blob)
    project.git("update-ref", f"{REQUESTS}not-an-id", project.git("rev-parse", "HEAD"))
    clone = project.clone
    assert {record.id for record in records.all_records(clone, None)} == set(hostile)
    for record in records.all_records(clone, None):
        with pytest.raises(SchemaError):
            record.files()
        assert record.read("request.dsse.json") is None
        assert record.carrier(1) is None


def test_a_large_document_is_not_read(project: Project, tmp_path: Path) -> None:
    with (tmp_path / "zeros").open("wb") as file:
        file.truncate(65 << 20)
    blob = project.git("hash-object", "-w", str(tmp_path / "zeros"))
    commit = project.raw_commit(project.raw_tree(("100644", b"request.dsse.json", blob)))
    with pytest.raises(SchemaError, match="bytes"):
        Record(ID, commit, project.clone).read("request.dsse.json")


def test_with_a_remote_the_remotes_copy_counts(project: Project, tmp_path: Path) -> None:
    bare = make_bare(tmp_path / "r.git")
    project.git("remote", "add", "origin", str(bare))
    project.git("push", "--quiet", "origin", "main")
    clone = project.clone
    first = records.extend(clone, None, ID, {"request.dsse.json": b"{}"})
    records.publish(clone, [RefUpdate(REQUESTS + ID, None, first)], remote="origin")
    bob = clone_of(bare, tmp_path / "bob")
    remotes.fetch(bob.clone, "origin")
    found = records.find(bob.clone, ID[:4], "origin")
    assert found.read("request.dsse.json") == b"{}"
    second = records.extend(bob.clone, found, ID, {"1/x.json": b"1"})
    records.publish(bob.clone, [RefUpdate(REQUESTS + ID, found.tip, second)], remote="origin")
    remotes.fetch(clone, "origin")
    assert records.find(clone, ID, "origin").tip == second
    stale = records.extend(clone, Record(ID, first, clone), ID, {"1/y.json": b"1"})
    with pytest.raises(StaleError):
        records.publish(clone, [RefUpdate(REQUESTS + ID, first, stale)], remote="origin")


def test_a_record_made_without_pushing_is_pushed_later(project: Project, tmp_path: Path) -> None:
    bare = make_bare(tmp_path / "r.git")
    project.git("remote", "add", "origin", str(bare))
    clone, record = project.clone, start(project)
    assert records.find(clone, ID, "origin").tip == record.tip
    second = records.extend(clone, record, ID, {"1/x.json": b"1"})
    records.publish(clone, [RefUpdate(REQUESTS + ID, record.tip, second)], remote="origin")
    assert clone.ref(REQUESTS + ID) == second
    assert records.find(clone, ID, "origin").tip == second
    remotes.fetch(clone, "origin")
    assert clone.ref(remotes.tracking("origin", REQUESTS + ID)) == second


def test_an_unreachable_remote_leaves_the_record_as_it_was(project: Project, tmp_path: Path) -> None:
    project.git("remote", "add", "origin", str(tmp_path / "nowhere.git"))
    clone, record = project.clone, start(project)
    second = records.extend(clone, record, ID, {"1/x.json": b"1"})
    with pytest.raises(GitError):
        records.publish(clone, [RefUpdate(REQUESTS + ID, record.tip, second)], remote="origin")
    assert clone.ref(REQUESTS + ID) == record.tip
