"""Records that were deleted, cut, exchanged or invented by who may push: `audit verify` names them all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.hostile import HostileRunner
from support.people import Person
from support.teams import REQUESTS, Team

from agent_pipeline.repository.trees import Put

pytestmark = pytest.mark.containers

At = Callable[[str], Team]
TIDY = b'"""A calculator."""\n'


def audited(person: Person) -> list[dict[str, Any]]:
    """What somebody's `audit verify` finds."""
    done = person.run("audit", "verify", "--json")
    document = json.loads(done.out)
    assert done.code == (1 if document["findings"] else 0), str(done)
    assert document["holds"] == (done.code == 0)
    return list(document["findings"])


def fresh(team: Team, person: Person) -> Person:
    """The same person, in a clone that has seen nothing yet."""
    clone = team.top / "fresh" / person.name
    shutil.rmtree(clone, ignore_errors=True)
    person.git("clone", "-q", str(team.bare), str(clone), cwd=person.home)
    return replace(person, clone=clone)


def without(*paths: str) -> Callable[[dict[str, Any]], None]:
    def change(files: dict[str, Any]) -> None:
        for path in paths:
            del files["1"][path]

    return change


def orphaned(team: Team, change: Callable[[dict[str, Any]], object]) -> str:
    """Mallory writes the record anew as one commit, as if it had always been so."""
    team.mallory.fetch()
    files = team.mallory.files(REQUESTS + team.id)
    change(files)
    commit = team.mallory.commit(team.mallory.tree(files))
    team.mallory.push(REQUESTS + team.id, commit)
    return commit


@pytest.mark.parametrize("stage", ["staged", "merged"])
def test_a_manifest_and_a_transcript_that_are_gone_or_exchanged_are_missed(at: At, stage: str) -> None:
    team = at(stage)
    assert audited(team.rosa) == []
    ref = REQUESTS + team.id

    def exchanged(files: dict[str, Any]) -> None:
        files["1"]["proposal.json"] = b"{}"
        files["1"]["transcript.jsonl"] = b"{}\n"

    for change, words in (
        (without("proposal.json", "transcript.jsonl"), ("is gone", "is gone")),
        (without("transcript.jsonl"), ("is gone",)),
        (exchanged, ("another one than was signed", "another one than was signed")),
    ):
        good = team.mallory.ref(ref)
        orphaned(team, change)
        findings = audited(fresh(team, team.rosa))  # nothing but what the log and the signatures say
        assert len(findings) == len(words), findings
        for row, word in zip(findings, words, strict=True):
            assert word in row["what"]
            assert "named by entry 0 of the log (admitted), signed by ci" in row["what"]
            assert (row["ref"], row["index"], row["signer"]) == (ref, 0, None)
            assert row["committer"] == "agent-pipeline <agent-pipeline@localhost>"
        team.mallory.push(ref, good)
        team.mallory.fetch()
    assert audited(fresh(team, team.rosa)) == []


def test_a_record_that_does_not_only_grow_is_found_wherever_the_step_is(at: At) -> None:
    team = at("merged")
    mallory, ref = team.mallory, REQUESTS + team.id
    whole, tip = mallory.files(ref), mallory.ref(ref)
    fewer = {name: value for name, value in whole["1"].items() if name != "transcript.jsonl"}
    less = mallory.commit(mallory.tree({**whole, "1": fewer}), tip)
    mallory.push(ref, mallory.commit(mallory.tree(whole), less))  # and puts it back
    (found,) = audited(fresh(team, team.rosa))
    assert f"step {less[:12]} takes away or exchanges 1/transcript.jsonl" in found["what"]
    mallory.push(ref, mallory.commit(mallory.tree(whole), mallory.ref("refs/heads/main")))
    (found,) = audited(fresh(team, team.rosa))
    assert "follows a commit that is no step of it" in found["what"]


def test_records_that_nobody_asked_for_are_named_with_who_committed_them(at: At) -> None:
    team = at("staged")
    mallory = team.mallory
    runner = HostileRunner(team)
    elsewhere = runner.propose(
        runner.built({"calc.py": Put(TIDY, "100644")}), request=runner.request(repository="https://x.example.org/y")
    )
    bob = runner.propose(runner.built({"calc.py": Put(TIDY, "100644")}), request=runner.request(requester="bob"))
    forged = mallory.files(REQUESTS + team.id)
    broken = json.loads(mallory.git("cat-file", "blob", forged["request.dsse.json"].partition(":")[2]))
    broken["signatures"][0]["sig"] = "A" * 86 + "=="
    invented = {
        "a" * 16: (mallory.ref(REQUESTS + team.id), f"holds the request {team.id}"),
        "b" * 16: (mallory.ref("refs/heads/main"), "record"),
        "c" * 16: (mallory.commit(mallory.tree({})), "has no request.dsse.json"),
        "d" * 16: (mallory.blob(b"no commit"), "does not point to a commit"),
        "not-an-id": (mallory.commit(mallory.tree({"x": b"y"})), "no request's id"),
    }
    for name, (oid, _) in invented.items():
        mallory.push(REQUESTS + name, oid)
    mallory.push(
        REQUESTS + team.id, mallory.commit(mallory.tree({**forged, "request.dsse.json": json.dumps(broken).encode()}))
    )
    told = {row["ref"]: row for row in audited(fresh(team, team.rosa)) if "none" in row["what"]}
    wanted = {REQUESTS + name: word for name, (_, word) in invented.items()}
    wanted |= {REQUESTS + elsewhere: "another repository", REQUESTS + bob: "signed by alice"}
    wanted |= {REQUESTS + team.id: "signature"}
    assert set(told) == set(wanted)
    for ref, word in wanted.items():
        assert word in told[ref]["what"], told[ref]
        assert "delete the ref" in told[ref]["todo"]
        assert "d" * 16 in ref or "@" in told[ref]["committer"]
    listed = {row["id"]: row for row in fresh(team, team.rosa).yes("list")["requests"]}
    doubts = {elsewhere: "another repository", bob: "signed by alice", team.id: "signature"}
    for request, word in (doubts | {"a" * 16: f"holds the request {team.id}"}).items():
        assert word in listed[request]["doubt"], listed[request]
    for request, word in doubts.items():
        assert word in team.rosa.yes("show", request)["doubt"]
        assert "nobody asked for this" in team.rosa.run("show", request).out


def test_nobody_doubts_what_was_asked_for(at: At) -> None:
    for stage in ("proposed", "merged"):
        team = at(stage)
        assert [row["doubt"] for row in team.rosa.yes("list")["requests"]] == [None]
        assert team.shown().document["doubt"] is None
        assert "nobody asked" not in team.rosa.run("list").out + team.rosa.run("show", team.id).out


def test_what_ci_has_rejected_and_what_is_deleted_again_is_found_no_more(at: At) -> None:
    team = at("proposed")
    mallory = team.mallory
    mallory.push(REQUESTS + "a" * 16, mallory.ref(REQUESTS + team.id))
    mallory.push(REQUESTS + "b" * 16, mallory.commit(mallory.tree({})))
    assert len(audited(team.rosa)) == 2
    code, rows = team.ci_run()
    assert (code, rows["a" * 16]["verdict"]) == (1, "failed")
    (left,) = audited(team.rosa)
    assert left["ref"] == REQUESTS + "b" * 16
    mallory.delete(left["ref"])
    assert audited(team.rosa) == []


def test_a_record_that_is_deleted_before_the_log_names_it_is_missed_by_who_has_seen_it(at: At) -> None:
    team = at("proposed")
    ref = REQUESTS + team.id
    tip = team.tip(ref)
    team.rosa.yes("list")
    team.mallory.delete(ref)
    done = team.rosa.run("audit", "verify")
    assert done.code == 1, str(done)
    assert "a record is gone: this clone has seen it" in done.out
    assert "signed by" not in done.out
    (found,) = audited(team.rosa)
    assert (found["ref"], found["index"], found["signer"]) == (ref, None, None)
    assert f"git push --force origin {tip}:{ref}" in found["todo"]
    assert audited(fresh(team, team.rosa)) == []  # who has never seen it cannot miss it: docs/threats.md says so
    team.rosa.git("push", "-q", "--force", "origin", f"{tip}:{ref}")  # as the finding says
    assert audited(team.rosa) == []
    team.mallory.fetch()
    orphaned(team, without("transcript.jsonl"))
    (found,) = audited(team.rosa)
    assert "this clone has seen its step" in found["what"]
    team.mallory.push(ref, str(tip))
    team.mallory.delete(ref)
    team.rosa.git("update-ref", "-d", f"refs/agent-pipeline-seen/origin/requests/{team.id}")  # meant so
    assert audited(team.rosa) == []
