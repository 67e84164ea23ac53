"""What is shown, and what was taken back: nothing but what holds, whoever writes into a record, a branch or the log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.hostile import HostileRunner, signer
from support.people import Person
from support.teams import LOG, MAIN, REQUESTS, Team

from agent_pipeline.documents import levels
from agent_pipeline.documents.closure import Closure
from agent_pipeline.documents.provenance import PREDICATE_TYPE as PROVENANCE
from agent_pipeline.documents.replay_result import ReplayResult
from agent_pipeline.documents.statement import Statement
from agent_pipeline.documents.summary import MERGER_ID, Summary
from agent_pipeline.documents.verification import Check
from agent_pipeline.repository.dossier import open_dossier, read_request
from agent_pipeline.repository.records import Record
from agent_pipeline.repository.trees import Put
from agent_pipeline.signing.client import Signer
from agent_pipeline.signing.generate import generate

pytestmark = pytest.mark.containers

At = Callable[[str], Team]
EVIL = b"def mean(values):\n    return 0.0 if not values else sum(values) / len(values) + 1e-9\n"


def refused(done: Any, *words: str, code: int = 1) -> None:
    assert done.code == code, str(done)
    for word in words:
        assert word in done.out + done.err, (word, str(done))


def recorded(team: Team) -> Record:
    """The record as the remote has it."""
    clone = HostileRunner(team).clone
    team.alice.git("fetch", "-q", "origin", f"+{REQUESTS}*:refs/looked-at/*")
    return Record(team.id, clone.commit(f"refs/looked-at/{team.id}"), clone)


def test_reports_and_other_peoples_signatures_prove_nothing(at: At) -> None:
    team = at("proposed")
    before = team.shown().document
    dossier = open_dossier(recorded(team))
    passed = Check("replay: tree", "passed", "forged"), Check("replay: full", "passed", "5000 tests passed")
    forged = ReplayResult(
        1, team.id, 1, dossier.statement, dossier.proposal.tree, "0" * 64, "docker", "0" * 64, passed, ()
    )
    offer = team.mallory.git("cat-file", "blob", "refs/agent-pipeline/offers/rosa:offer.dsse.json").encode()
    team.mallory.add(
        REQUESTS + team.id,
        {
            "1/reports/replay.json": forged.to_json(),
            "1/attestations/test-result.0.dsse.json": signer(team.alice)
            .statement(Statement("proposal.json", dossier.provenance.task, PROVENANCE, {}))
            .to_json(),
            "1/attestations/approval.0.dsse.json": offer,
            "1/attestations/summary.0.dsse.json": offer,
        },
    )
    shown = team.shown().document
    for name in ("proofs", "people", "persons", "signatures", "checks", "seen_by", "state"):
        assert shown[name] == before[name], name
    assert shown["people"] == ["alice"]
    assert shown["seen_by"] is None
    assert "replayed" not in shown["proofs"]


def test_a_merged_request_shows_what_the_merger_signed_or_nothing(at: At) -> None:
    team = at("merged")
    before = team.shown().document
    assert before["proofs"] == ["signed", "replayed", "regression", "reviewed 1/1", "3 persons"]
    dossier = open_dossier(recorded(team))
    words = ("signed", "replayed", "regression", "reviewed 5/5", "9 persons")
    forged = Summary(
        MERGER_ID, "1", "2026-01-01T00:00:00Z", str(team.bare), MAIN, "0" * 64, dossier.statement, (), passed=True,
        levels=tuple(levels.level(word) for word in words), base=dossier.proposal.base, tree=dossier.proposal.tree,
        checks=(),
    ).to_statement("0" * 64)  # fmt: skip
    for number, hand in enumerate((signer(team.alice), signer(team.ci))):  # not even genuinely: the log names the one
        team.mallory.add(
            REQUESTS + team.id, {f"1/attestations/merge.{number}.dsse.json": hand.statement(forged).to_json()}
        )
    team.mallory.add(REQUESTS + team.id, {"1/attestations/merge.junk.dsse.json": b"{}"})
    shown = team.shown().document
    for name in ("proofs", "people", "signatures", "checks", "merged_as", "tree"):
        assert shown[name] == before[name], name

    def without_it(files: dict[str, Any]) -> None:
        folder = files["1"]["attestations"]
        for name in [name for name in folder if name.startswith("merge.")]:
            del folder[name]

    team.mallory.rewrite(REQUESTS + team.id, without_it)
    refused(team.shown(), "not in the record any more")
    runner = HostileRunner(team)
    asked = read_request(recorded(team))[1]
    runner.propose(runner.built({"calc.py": Put(EVIL, "100644")}, asked.base), request=asked)
    refused(team.shown(), "another proposal")


def test_another_proposal_under_an_admitted_number_was_not_admitted(at: At) -> None:
    team = at("staged")
    asked = read_request(recorded(team))[1]
    runner = HostileRunner(team)
    evil = runner.built({"calc.py": Put(EVIL, "100644"), "tests/test_more.py": Put(b"", "100644")})
    runner.propose(evil, request=asked)
    shown = team.shown().document
    assert shown["state"] == "proposed"
    assert (shown["tree"], shown["proofs"]) == (evil, ["signed", "reviewed 0/1", "one person"])
    assert team.rosa.yes("review", "list")["waiting"] == []
    refused(team.rosa.run("review", "approve", team.id, "--tree", evil), "not staged")
    tip = team.tip()
    code, rows = team.ci_merge(team.id)
    assert (code, rows[team.id]["merged"]) == (1, False)
    assert "admits this proposal" in rows[team.id]["reason"]
    assert team.tip() == tip


def test_a_manifest_that_was_exchanged_is_neither_shown_as_staged_nor_approved(at: At) -> None:
    team = at("staged")
    good = open_dossier(recorded(team))
    runner = HostileRunner(team)
    evil = runner.built({"calc.py": Put(EVIL, "100644")})
    for old, new in ((good.proposal.tree, evil), (good.proposal.base_tree, evil)):
        manifest = good.manifest.replace(old.encode(), new.encode())
        team.mallory.push(REQUESTS + team.id, good.record.tip)
        team.mallory.rewrite(
            REQUESTS + team.id, lambda files, data=manifest: files["1"].update({"proposal.json": data})
        )
        listed = team.rosa.run("review", "list", "--json")
        assert listed.document["waiting"] == []
        assert f"{team.id}: left alone" in listed.err
        refused(team.rosa.run("review", "approve", team.id, "--tree", evil), "manifest")
        refused(team.rosa.run("diff", team.id), "does not say what its commits say")
        code, rows = team.ci_merge(team.id)
        assert (code, rows[team.id]["merged"]) == (1, False)
    shown = team.shown().document
    assert shown["proofs"] == []


def test_a_closure_counts_when_who_asked_signed_it_and_then_for_good(at: At) -> None:
    team = at("proposed")
    closure = Closure(1, team.id, "alice", "2026-01-01T00:00:00Z", "closed by request")
    statement = closure.to_statement()
    generate(team.top / "stranger", "stranger")
    for number, hand in enumerate((Signer(str(team.top / "stranger")), signer(team.rosa))):
        team.mallory.add(REQUESTS + team.id, {f"closure.{number}.dsse.json": hand.statement(statement).to_json()})
    team.mallory.add(REQUESTS + team.id, {"closure.junk.dsse.json": b"junk"})
    assert team.shown().document["state"] == "proposed"
    code, rows = team.ci_run()
    assert (code, rows[team.id]["verdict"]) == (0, "passed")
    team.rosa.yes("review", "approve", team.id, "--tree", team.found["tree"])
    team.mallory.fetch()
    approved = team.mallory.ref(REQUESTS + team.id)
    team.alice.yes("close", team.id)
    told = team.ci.run("ci", "run", "--json")
    assert f"log: {team.id} was closed" in told.err
    team.mallory.push(REQUESTS + team.id, approved)
    assert team.shown().document["state"] == "closed"
    code, rows = team.ci_merge(team.id)
    assert (code, rows[team.id]["merged"]) == (1, False)
    assert "closed by entry" in rows[team.id]["reason"]


def test_a_merger_may_close_what_another_asked_for_and_a_reviewer_may_not(at: At) -> None:
    team = at("approved")
    done = team.rosa.run("close", team.id)
    assert done.code == 1
    assert "was asked for by alice: none of your keys has the role `requester`" in done.err
    assert "ask alice or a merger to close it" in done.err
    assert team.ci.yes("close", team.id)["state"] == "closed"
    assert team.shown().document["state"] == "closed"
    assert team.ci_merge(team.id)[0] == 1


def test_a_rejection_stays_when_it_is_taken_out_of_the_record(at: At) -> None:
    team = at("approved")
    approved = team.mallory.ref(REQUESTS + team.id)
    team.rosa.yes("review", "reject", team.id, "--reason", "on second thoughts, no")
    assert "on second thoughts" in team.ci.run("ci", "run", "--json").err
    team.mallory.push(REQUESTS + team.id, approved)
    tip = team.tip()
    code, rows = team.ci_merge(team.id)
    assert (code, rows[team.id]["merged"]) == (1, False)
    assert "this proposal was rejected by entry 1 of the log" in rows[team.id]["reason"]
    assert team.ci_merge() == (0, {})
    assert team.tip() == tip
    assert team.shown().document["state"] == "rejected"


FLOODS: dict[str, Callable[[dict[str, Any]], object]] = {
    "another proposal of junk": lambda files: files.update(
        {"2": {"proposal.json": b"{}", "attestations": {f"x.{n:016x}.dsse.json": b"{}" for n in range(600)}}}
    ),
    "no request": lambda files: files.update({"request.dsse.json": b"{}"}),
    "copies of it": lambda files: files["1"]["attestations"].update(
        {f"x.{n}.dsse.json": data for n in range(9) for data in files["1"]["attestations"].values()}
    ),
}


@pytest.mark.parametrize("what", FLOODS)
def test_a_rejection_is_logged_whatever_is_put_around_it(at: At, what: str) -> None:
    """Flood the record, wait until CI has looked, take the flood and the rejection away: the log has it."""
    team = at("approved")
    approved = team.mallory.ref(REQUESTS + team.id)
    team.rosa.yes("review", "reject", team.id, "--reason", "on second thoughts, no")
    team.mallory.fetch()
    files = team.mallory.files(REQUESTS + team.id)
    FLOODS[what](files)
    flooded = team.mallory.commit(team.mallory.tree(files), team.mallory.ref(REQUESTS + team.id))
    team.mallory.push(REQUESTS + team.id, flooded)
    assert team.ci.run("ci", "run", "--json").err.count("on second thoughts") == 1
    team.mallory.push(REQUESTS + team.id, approved)
    tip = team.tip()
    code, rows = team.ci_merge(team.id)
    assert (code, rows[team.id]["merged"]) == (1, False)
    assert "rejected by entry 1 of the log" in rows[team.id]["reason"]
    assert team.tip() == tip


def everything_refuses(team: Team, *words: str) -> None:
    for argv in (("ci", "run"), ("show", team.id)):
        refused(team.ci.run(*argv), *words)
    refused(team.ci.run("ci", "merge"), *words)


def test_a_log_that_was_rewound_deleted_or_replaced_is_noticed(at: At) -> None:
    team = at("merged")
    head, tip = team.mallory.ref(LOG), team.tip()
    fresh = Person("ci", team.top / "fresh", team.top / "fresh-clone")  # has seen nothing yet
    fresh.git("clone", "-q", str(team.bare), str(fresh.clone), cwd=fresh.home)
    root = team.alice.yes("trust", "show")["root"]
    team.mallory.push(LOG, team.mallory.ref(f"{LOG}~1"))
    everything_refuses(team, "rewound or replaced")
    refused(fresh.run("list", AGENT_PIPELINE_ROOT=root), "refs/heads/main names its entry")
    team.mallory.delete(LOG)
    everything_refuses(team, "rewound or replaced")
    refused(fresh.run("list", AGENT_PIPELINE_ROOT=root), "refs/heads/main names its entry")
    team.mallory.push(LOG, team.mallory.commit(team.mallory.tree({"x": b"y"}), head))
    everything_refuses(team, "does not hold exactly one entry")
    team.mallory.push(LOG, team.mallory.commit(team.mallory.tree({"entry.dsse.json": b"{}"}), head))
    everything_refuses(team, "the newest entry of the log")
    team.mallory.push(LOG, team.mallory.commit(team.mallory.git("rev-parse", f"{head}^{{tree}}"), head))
    assert team.ci_run() == (0, {})  # the same entry in another commit says nothing else; `audit verify` finds it
    team.mallory.push(LOG, team.mallory.blob(b"no commit"))
    everything_refuses(team, "is no log")
    team.mallory.push(LOG, head)
    assert team.ci_run() == (0, {})
    assert team.tip() == tip


def test_a_log_that_was_rewound_before_any_merge_is_noticed_by_who_has_seen_it(at: At) -> None:
    team = at("approved")
    team.mallory.delete(LOG)
    everything_refuses(team, "this clone has seen its entry")
    refused(team.rosa.run("review", "list"), "this clone has seen its entry")


def test_a_commit_message_is_no_high_water_mark(at: At) -> None:
    team = at("merged")
    team.alice.git("pull", "-q", "--ff-only", "origin", "main")
    team.alice.git("commit", "-q", "--allow-empty", "-m", f"Innocent\n\nAgent-Pipeline-Log: {'0' * 40}")
    team.alice.git("push", "-q", "origin", "main")
    assert team.ci_run() == (0, {})
    team.mallory.push(LOG, team.mallory.ref(f"{LOG}~1"))
    everything_refuses(team, "rewound or replaced")


def test_objects_that_git_refuses_keep_nobody_waiting(at: At) -> None:
    team = at("proposed")
    mallory = team.mallory
    inner = mallory.tree({"config": b"[core]\n\tfsmonitor = touch /tmp/owned\n"})
    dotgit = mallory.commit(mallory.raw_tree(("40000", ".git", inner)))
    mallory.push(REQUESTS + "a" * 16, dotgit)
    mallory.push("refs/heads/planted", dotgit)
    twice = mallory.blob(b"x")
    mallory.push("refs/heads/twice", mallory.commit(mallory.raw_tree(("100644", "a", twice), ("100644", "a", twice))))
    code, rows = team.ci_run()
    assert rows[team.id]["verdict"] == "passed", rows
    assert code in (0, 1)
    fresh = Person("eve", team.top / "fresh", team.top / "fresh-clone")
    fresh.git("init", "-q", str(fresh.clone), cwd=fresh.home)
    fresh.git("remote", "add", "origin", str(team.bare))
    fresh.git("fetch", "-q", "origin", "main")
    fresh.git("checkout", "-q", "-b", "main", "origin/main")
    root = team.alice.yes("trust", "show")["root"]
    told = fresh.run("list", AGENT_PIPELINE_ROOT=root)
    assert told.code == 0, str(told)
    assert team.id in told.out
    assert "refs/heads/planted: left out" in told.err
    mallory.push(LOG, dotgit)
    for person in (fresh, team.ci):
        refused(person.run("list", AGENT_PIPELINE_ROOT=root), "refs/agent-pipeline/log cannot be fetched", code=3)


def test_a_branch_with_half_a_trust_root_stops_nobody(at: At) -> None:
    team = at("proposed")
    root = team.alice.yes("trust", "show")["root"]
    junk = team.mallory.tree({".agent-pipeline": {"trust": {"7.00000000.dsse.json": b"{}"}}})
    team.mallory.push("refs/heads/aaa", team.mallory.commit(junk))
    team.mallory.push("refs/heads/aab", team.mallory.commit(team.mallory.tree({".agent-pipeline": b"a file"})))
    done = team.ci.run("ci", "run", "--json", AGENT_PIPELINE_ROOT=root)
    assert done.code == 0, str(done)
    assert [row["verdict"] for row in done.document["results"]] == ["passed"]


def test_an_offer_that_was_exchanged_is_not_added(at: At, tmp_path: Path) -> None:
    team = at("ready")
    mallory = Person("dora", tmp_path / "dora", tmp_path / "dora-clone")
    mallory.git("clone", "-q", str(team.bare), str(mallory.clone), cwd=mallory.home)
    compared = mallory.yes("join")["fingerprint"]  # dora's own
    evil = Person("dora", tmp_path / "evil", tmp_path / "evil-clone")
    evil.git("clone", "-q", str(team.bare), str(evil.clone), cwd=evil.home)
    swapped = evil.yes("join")["fingerprint"]
    assert swapped != compared
    before = team.tip()
    refused(team.alice.run("trust", "add", "dora", "--role", "reviewer", "--fingerprint", compared), "you compared")
    assert team.tip() == before

    rosa = Person("rosa", tmp_path / "rosa", tmp_path / "rosa-clone")
    rosa.git("clone", "-q", str(team.bare), str(rosa.clone), cwd=rosa.home)
    rosa.yes("join")  # under a name that is known
    team.mallory.push(
        "refs/agent-pipeline/offers/junk", team.mallory.commit(team.mallory.tree({"offer.dsse.json": b"{"}))
    )
    shown = team.alice.run("trust", "show", "--json")
    assert shown.code == 0, str(shown)
    assert "junk: no offer" in shown.err
    team.alice.yes("trust", "add", "rosa", "--role", "prompts")
    people = {row["name"]: row for row in team.alice.yes("trust", "show")["people"]}
    assert len(people["rosa"]["keys"]) == 1


def test_what_stands_in_the_way_of_ci_is_said_before_anything_runs(at: At) -> None:
    team = at("proposed")
    main = team.mallory.ref(MAIN)
    for ref in ("refs/heads/agent", f"refs/heads/agent/{team.id}/x"):
        team.mallory.push(ref, main)
        done = team.ci.run("ci", "run")
        refused(done, "a branch is in its way")
        assert "replay" not in done.err
        team.mallory.delete(ref)
    team.mallory.rewrite(REQUESTS + team.id, lambda files: files["1"].update({"reports": b"a file"}))
    done = team.ci.run("ci", "run")
    refused(done, "a file where a folder belongs")
    assert "replay" not in done.err
    team.mallory.rewrite(
        REQUESTS + team.id,
        lambda files: files["1"].update({"reports": {"verification.json": b"{}", "replay.json": b"junk"}}),
    )
    assert team.ci_run()[1][team.id]["verdict"] == "passed"


def test_an_approval_from_before_takes_no_rejection_back_whenever_ci_comes_to_see_it(at: At) -> None:
    """Rosa changes her mind twice; Mallory keeps what she signed before from CI, and puts it back at the end."""
    team = at("approved")
    ref = REQUESTS + team.id
    team.rosa.yes("review", "reject", team.id, "--reason", "wait")
    team.mallory.fetch()
    seen = team.mallory.ref(ref)  # with the rejection, and without what comes now
    team.rosa.yes("review", "approve", team.id, "--tree", team.found["tree"])
    team.mallory.fetch()
    taken_back = team.mallory.ref(ref)
    team.mallory.push(ref, seen)
    assert "was rejected: by rosa: wait" in team.ci.run("ci", "run").err
    team.rosa.yes("review", "reject", team.id, "--reason", "it is wrong after all")
    team.mallory.fetch()
    rejected = team.mallory.ref(ref)
    assert "rejected: by rosa: it is wrong after all" in team.ci.run("ci", "run").err
    tip = team.tip()
    for state in (taken_back, rejected):  # what she approved is there again; then both are
        team.mallory.push(ref, state)
        if state == rejected:
            files = team.mallory.git("ls-tree", "-r", "--name-only", taken_back, "1/attestations/").split()
            held = {name: team.mallory.git("cat-file", "blob", f"{taken_back}:{name}").encode() for name in files}
            team.mallory.add(ref, held)
        code, rows = team.ci_merge(team.id)
        assert (code, rows[team.id]["merged"], team.tip()) == (1, False, tip)
        assert "rosa rejected it" in rows[team.id]["reason"], rows
    events = [row["event"] for row in team.ci.yes("audit", "tail")["entries"]]
    assert events == ["admitted", "rejected", "rejected", "approved"]  # which ends the first of them, and no other
    assert team.shown().document["state"] == "rejected"
