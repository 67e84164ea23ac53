"""Attacks on refs and on the shared log, by their numbers in `docs/attacks.md`: 66, 67, 72-75."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from support import courts
from support.hostile import HostileRunner, signer, stolen, team_root
from support.logs import prove
from support.teams import LOG, MAIN, REQUESTS, Team
from support.trust import NOW, Maker

from agent_pipeline.attestation import log_entries, log_tree, merkle
from agent_pipeline.audit import log as audit_log
from agent_pipeline.documents import moments
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.log_proof import LogProof
from agent_pipeline.documents.verification import PASSED
from agent_pipeline.errors import SignatureError
from agent_pipeline.repository.refs import RefUpdate, update
from agent_pipeline.verify import decide, verify
from agent_pipeline.verify.log import check_proof

pytestmark = pytest.mark.containers

At = Callable[[str], Team]
ATTESTATIONS = "refs/attestations/trees"


def refused(done: Any, *words: str, code: int = 1) -> None:
    assert done.code == code, str(done)
    for word in words:
        assert word in done.out + done.err, (word, str(done))


def audited(team: Team, code: int = 1) -> list[dict[str, Any]]:
    """What `audit verify` finds."""
    done = team.rosa.run("audit", "verify", "--json")
    assert done.code == code, str(done)
    document = json.loads(done.out)
    assert document["holds"] == (code == 0)
    return list(document["findings"])


def test_066_entries_dropped_forked_renumbered_or_told_otherwise(at: At) -> None:
    team = at("merged")
    head = team.mallory.ref(LOG)
    assert audited(team, 0) == []
    team.mallory.push(LOG, team.mallory.ref(f"{LOG}~1"))
    (found,) = [row for row in audited(team) if row["ref"] == LOG]
    assert "rewound or replaced" in found["what"]
    team.mallory.delete(LOG)
    assert any("rewound or replaced" in row["what"] for row in audited(team))
    team.mallory.push(LOG, head)
    for lie, word in (
        ({"history": "3" * 64}, "another history"),
        ({"state": "3" * 64}, "another state"),
        ({"index": 7}, "does not continue"),
        ({"previous": "3" * 64}, "does not continue"),
    ):
        commit = stolen(team, head, "admitted", **lie)
        findings = audited(team)
        assert any(word in row["what"] and row["index"] == 2 for row in findings), (lie, findings)
        team.mallory.push(LOG, head)
        assert commit != head
    commit = stolen(team, head, "approved", state="0" * 64)  # that nothing was ever merged: refused by who appends
    team.alice.yes("list")
    refused(team.alice.run("stop", "--all"), "entry 2", "another state", "trust revoke")
    assert team.tip(LOG) == commit


def test_066_the_newest_entry_written_in_another_way_by_who_has_no_key(at: At) -> None:
    """Its digest would be another one, and two entries with one index would bear CI's signature."""
    team = at("merged")
    before = team.mallory.ref(LOG)
    clone, root = HostileRunner(team).clone, team_root(team)
    team.alice.git("fetch", "-q", "origin", f"+{LOG}:refs/stolen/log")
    newest = clone.file(clone.commit("refs/stolen/log"), audit_log.FILE)
    assert newest is not None
    older = audit_log.at(clone, clone.commit("refs/stolen/log~1"), root)
    other = audit_log.append(older, older.following(), newest + b"\n")
    team.alice.git("push", "-q", "--force", "origin", f"{other}:{LOG}")
    for done in (team.alice.run("list"), team.ci.run("ci", "merge", team.id), team.alice.run("stop", "--all")):
        refused(done, "one form")
    assert any("one form" in row["what"] for row in audited(team))
    assert team.tip(LOG) == other != before


def test_066_what_the_verifier_is_given_of_such_a_log() -> None:
    """The proof is made by who lies: by an honest one of a lying log, or by hand of an honest one."""
    maker = Maker()
    mine, entries = maker.request().id, [maker.admission()]
    entries.append(maker.entry(entries, "approved", reviewer="rita"))
    good = prove([*entries, maker.entry(entries, "admitted", request="b" * 16)], mine)
    head, nodes = good.head_envelope, good.node_bytes
    assert head is not None
    fork = [entries[0], maker.entry(entries[:1], "rejected", reviewer="rita")]
    fork.append(maker.entry(fork, "admitted", request="b" * 16))
    other = prove(fork, mine)
    for proof, word in (
        (LogProof.of(mine, head, entries[:1], nodes), "2 entries"),
        (LogProof.of(mine, head, fork[:2], nodes), "is not the one that its map names"),
        (LogProof.of(mine, other.head_envelope, entries, nodes), "a node of the log's map is missing"),
        (LogProof.of(mine, head, entries[::-1], nodes), "is not the one that its map names"),
        (prove([*entries, maker.entry(entries, "approved", state="3" * 64)], mine), "a node of the log's map"),
        (LogProof.of(mine, head + b"\n", entries, nodes), "one form"),
        (LogProof.of(mine, head, [entries[0], entries[1] + b"\n"], nodes), "is not the one that its map names"),
    ):
        courts.refused(verify(replace(maker.inputs(), log=proof)), "30 log", word)
    assert verify(replace(maker.inputs(), log=good)).verdict == PASSED


def test_066_the_protected_branch_goes_back_behind_a_merge(at: At) -> None:
    """To the commit before it, to another one, or it is gone: what the log says was merged is missed by name."""
    team = at("merged")
    merge = team.mallory.ref(MAIN)
    base = team.mallory.ref(f"{MAIN}^")
    beside = team.mallory.commit(team.mallory.git("rev-parse", f"{merge}^{{tree}}"), base, message="The same files\n")
    for elsewhere in (base, beside):
        team.mallory.push(MAIN, elsewhere)
        (found,) = audited(team)
        assert found["what"] == f"entry 1 says that {team.id}.1 was merged, and {MAIN} lacks it"
        assert (found["index"], found["signer"], found["ref"]) == (1, "ci", MAIN)
        assert "put it back" in found["todo"]
    team.alice.git("update-ref", "-d", MAIN, cwd=team.bare)
    refused(team.rosa.run("audit", "verify"), f"{MAIN} has no .agent-pipeline/policy.yaml", code=2)
    team.mallory.push(MAIN, merge)
    assert audited(team, 0) == []


def test_067_a_merge_that_the_log_does_not_know(at: At) -> None:
    team = at("staged")
    team.alice.git("pull", "-q", "--ff-only", "origin", "main")
    words = f"Merge agent change {team.id}.1\n\nAgent-Pipeline-Proposal: {team.id}.1\nAgent-Pipeline-Log: {'1' * 40}\n"
    team.alice.git("commit", "-q", "--allow-empty", "-m", words)
    team.alice.git("push", "-q", "origin", "main")
    (found,) = audited(team)
    assert found["ref"] == MAIN
    assert "no entry of the log is about it" in found["what"]
    assert found["committer"].startswith("Alice")
    assert team.shown().document["state"] == "staged"


def test_073_a_split_view_is_noticed_by_whoever_saw_the_other_side(at: At) -> None:
    team = at("approved")
    first = team.mallory.ref(LOG)
    team.rosa.yes("list")  # she has seen entry 0
    other = stolen(team, stolen_root_commit(team, first), "admitted", detail="the other side")
    refused(team.rosa.run("list"), "rewound or replaced", "this clone has seen its entry")
    stolen(team, other, "approved")  # however long it grows
    refused(team.rosa.run("list"), "rewound or replaced", "not in it any more")
    assert any("rewound or replaced" in row["what"] for row in audited(team))
    refused(team.ci.run("ci", "merge", team.id), "rewound or replaced")


def stolen_root_commit(team: Team, first: str) -> str:
    """The thief begins the log anew: another entry 0."""
    clone = HostileRunner(team).clone
    team.alice.git("fetch", "-q", "origin", f"+{LOG}:refs/stolen/log")
    root = team_root(team)
    empty = audit_log.Log(clone, None)
    roots = empty.following()
    entry = LogEntry(
        version=1, index=0, previous=roots.previous, history=roots.history, state=roots.state, event="admitted",
        repository=root.repository, envelopes=(), created=moments.write(NOW), root=root.version, request="a" * 16,
    )  # fmt: skip
    commit = audit_log.append(empty, roots, signer(team.ci).statement(entry.to_statement()).to_json())
    assert commit != first
    update(clone, [RefUpdate("refs/stolen/anew", None, commit)])
    return commit


def test_074_a_genuine_entry_that_names_another_envelope_admits_nothing() -> None:
    maker = Maker()
    given = maker.landing()
    assert decide(given).verdict == PASSED
    request = given.inputs.request
    for envelopes in ([maker.test_result()], [maker.summary()[:-1]], []):
        entry = maker.entry([], "admitted", envelopes)
        decision = decide(replace(given, inputs=replace(given.inputs, log=prove([entry], request))))
        courts.refused(decision, "34 admitted")
    resigned = Maker(ci="ada").entry([], "admitted", [maker.test_result(), maker.summary()])
    decision = decide(replace(given, inputs=replace(given.inputs, log=prove([resigned], request))))
    courts.refused(decision, "30 log", "no ci")
    courts.refused(decision, "34 admitted")


def log_of(*requests: str) -> list[bytes]:
    entries: list[bytes] = []
    for request in requests:
        entries.append(Maker().entry(entries, "admitted", request=request))
    return entries


def test_072_a_proof_of_another_entry_another_log_or_another_length() -> None:
    maker = Maker()
    mine, other = maker.request().id, "b" * 16
    log = log_of(mine, other, mine, other, mine, other)
    good = prove(log, mine)
    assert [entry.index for entry in check_proof(good, maker.root, mine).entries] == [0, 2, 4]
    theirs = prove(log, other)
    head, nodes = log[-1], good.node_bytes
    attacks = {
        "another request's": replace(theirs, request=mine),
        "an entry too few": LogProof.of(mine, head, log[0:4:2], nodes),
        "an entry too many": LogProof.of(mine, head, [*log[0:6:2], log[1]], nodes),
        "another entry": LogProof.of(mine, head, [log[0], log[1], log[4]], nodes),
        "another order": LogProof.of(mine, head, [log[2], log[0], log[4]], nodes),
        "a node too few": LogProof.of(mine, head, log[0:6:2], nodes[:-1]),
        "a node too many": LogProof.of(mine, head, log[0:6:2], [*nodes, b"\x03\x00\x01" + b"\x07" * 32]),
        "a node twice": LogProof.of(mine, head, log[0:6:2], [*nodes, nodes[0]]),
        "no nodes": LogProof.of(mine, head, [], []),
        "an older head": LogProof.of(mine, log[3], log[0:6:2], nodes),
        "no head": LogProof.of(mine, None, log[0:6:2], nodes),
    }
    for proof in attacks.values():
        with pytest.raises(SignatureError):
            check_proof(proof, maker.root, mine)
        courts.refused(verify(replace(maker.inputs(), log=proof)), "30 log")
    assert verify(replace(maker.inputs(), log=good)).verdict == PASSED
    with pytest.raises(SignatureError, match="about another repository"):
        check_proof(good, replace(maker.root, repository="https://git.example.org/acme/other"), mine)


def test_072_an_inclusion_proof_of_another_leaf_or_of_another_length() -> None:
    log = log_of(*["a" * 16] * 7)
    files: dict[str, bytes] = {}
    root = merkle.EMPTY
    for index, envelope in enumerate(log):
        grown = log_tree.add(files.get, index, root, envelope)
        files, root = files | grown.files, grown.root
    proof = log_tree.inclusion(files.get, 3, 7)
    leaf = log_tree.leaf_of(log[3])
    merkle.check_inclusion(leaf, 3, 7, proof, root)
    for args in (
        (log_tree.leaf_of(log[4]), 3, 7, proof, root),
        (leaf, 4, 7, proof, root),
        (leaf, 3, 7, proof[:-1], root),
        (leaf, 3, 7, (*proof, proof[0]), root),
        (leaf, 3, 7, proof, log_tree.leaf_of(log[0])),
    ):
        with pytest.raises(SignatureError):
            merkle.check_inclusion(*args)
    roots = log_entries.FIRST
    assert roots.history == merkle.EMPTY.hex()


def taken_out(files: dict[str, Any], prefix: str) -> None:
    folder = files["1"]["attestations"]
    names = [name for name in folder if name.startswith(prefix)]
    assert names
    for name in names:
        del folder[name]


def test_075_records_and_proofs_that_are_gone_are_missed_by_name(at: At) -> None:
    team = at("approved")
    tip = team.tip()
    team.mallory.delete(REQUESTS + team.id)
    refused(team.ci.run("ci", "merge", team.id), "0 of 1 reviews")  # CI has kept what it wrote itself, and no more
    assert team.tip() == tip
    (found,) = [row for row in audited(team) if row["ref"] == REQUESTS + team.id]
    assert (found["index"], found["signer"]) == (0, None)
    said = "a record is gone: named by entry 0 of the log (admitted), signed by ci; Git does not say who deleted it"
    assert found["what"] == said
    team = at("approved")
    team.mallory.rewrite(REQUESTS + team.id, lambda files: taken_out(files, "approval."))
    code, rows = team.ci_merge(team.id)
    assert (code, rows[team.id]["merged"], team.tip()) == (1, False, tip)
    assert "0 of 1 reviews" in rows[team.id]["reason"]
    team = at("merged")
    proofs = team.mallory.ref(ATTESTATIONS)
    team.mallory.delete(ATTESTATIONS)
    (found,) = audited(team)
    assert (found["ref"], found["index"]) == (ATTESTATIONS, 1)
    team.mallory.push(ATTESTATIONS, proofs)

    team.mallory.rewrite(REQUESTS + team.id, lambda files: taken_out(files, "summary."))
    findings = audited(team)
    assert {row["ref"] for row in findings} == {REQUESTS + team.id}
    taken = [row for row in findings if "was taken out or exchanged: named by entry" in row["what"]]
    assert [row["index"] for row in taken] == [0, 1]
    assert all(row["committer"].startswith("agent-pipeline") and row["signer"] is None for row in taken)
    assert any("takes away or exchanges 1/attestations/summary." in row["what"] for row in findings)


def test_the_stop_cord_holds_for_everybody_and_says_who_pulled_it(at: At) -> None:
    team = at("approved")
    refused(team.rosa.run("stop", "--all"), "none of your keys has the role")
    done = team.ci.yes("stop", "--all", "--reason", "a key is missing")
    assert done == {"stopped": True, "entry": 1, "runs": []}
    tip, log = team.tip(), team.tip(LOG)
    words = ("stopped since entry 1 of the log, by ci", "a key is missing")
    refused(team.ci.run("ci", "merge", team.id), *words)
    refused(team.alice.run("request", "x", "--engine", "command", "--", "true"), *words)
    refused(team.alice.run("stop", "--all"), *words)
    assert (team.tip(), team.tip(LOG)) == (tip, log)
    assert words[0] in team.shown().document["stopped"]
    assert words[0] in team.alice.run("list").err
    assert words[0] in team.alice.yes("list")["stopped"]
    refused(team.rosa.run("resume"), "none of your keys has the role")
    events = [row["event"] for row in team.rosa.yes("audit", "tail")["entries"]]
    assert events == ["admitted", "stopped"]
    team.mallory.push(LOG, team.mallory.ref(f"{LOG}"))  # Mallory takes the cord out again
    refused(team.ci.run("ci", "merge", team.id), "rewound or replaced")
    team.mallory.fetch()
    team.alice.git("fetch", "-q", "origin")
    team.alice.git("push", "-q", "--force", "origin", f"{log}:{LOG}")
    assert team.alice.yes("resume")["entry"] == 2  # she holds the root
    assert team.shown().document["stopped"] is None
    code, rows = team.ci_merge(team.id)
    assert (code, rows[team.id]["merged"]) == (0, True), rows
    assert audited(team, 0) == []


def test_while_everything_is_stopped_no_proposal_is_open() -> None:
    maker = Maker()
    about_all = {"request": None, "number": None, "statement": None}
    log = [maker.admission()]
    log.append(maker.entry(log, "stopped", detail="a key is missing", **about_all))
    stopped = replace(maker.inputs(), log=prove(log, maker.request().id))
    courts.refused(verify(stopped), "31 open", "robot stopped everything by entry 1", alone=True)
    log.append(maker.entry(log, "resumed", **about_all))
    assert verify(replace(stopped, log=prove(log, maker.request().id))).verdict == PASSED


def test_of_two_who_append_at_once_one_wins_and_the_other_builds_on_it(at: At) -> None:
    team = at("staged")
    people = [team.ci, team.alice]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda person: person.run("stop", "--all", "--json"), people))
    codes = sorted(one.code for one in done)
    assert codes in ([0, 1], [0, 0]), [str(one) for one in done]
    events = [row["event"] for row in team.rosa.yes("audit", "tail")["entries"]]
    assert events == ["admitted", *["stopped"] * codes.count(0)]
    assert audited(team, 0) == []
