"""The trust root's life among separate people: several signatures, lost keys, renewal, a branch that takes no push."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from support.desks import Desk
from support.hostile import signer
from support.people import Done, Person
from support.teams import MAIN, Team, staged_team
from support.terminals import at_a_terminal

from agent_pipeline import clock
from agent_pipeline.attestation import drafts, dsse, trust
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.root import PAYLOAD_TYPE, TrustRoot
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.trust_files import file_name, versions

HOOK = """#!/bin/sh
while read old new ref; do
    [ "$ref" = refs/heads/main ] && { echo "main is protected" >&2; exit 1; }
done
exit 0
"""


@pytest.fixture(scope="module")
def at() -> Iterator[Callable[[str], Team]]:
    with staged_team() as restored:
        yield restored


def refused(done: Done, code: int, *words: str) -> None:
    assert done.code == code, str(done)
    said = done.document["error"]
    for word in words:
        assert word in f"{said['message']} {said['hint']}", said


def shown(person: Person) -> Any:
    return person.yes("trust", "show")


def landed_root(person: Person) -> TrustRoot:
    """The trust root that the remote has now."""
    person.git("fetch", "-q", "origin", "+refs/heads/*:refs/remotes/origin/*")
    clone = Clone.discover(person.clone)
    return trust.load_root(
        versions(clone, clone.commit("refs/remotes/origin/main")),
        pin=str(shown(person)["root"]).removeprefix("sha256:"),
        now=None,
    )


def test_two_of_three_sign_and_a_lost_root_key_locks_nobody_out(at: Callable[[str], Team]) -> None:
    team = at("ready")
    alice, rosa, ci = team.alice, team.rosa, team.ci
    for name in ("rosa", "ci"):
        alice.yes("trust", "add", name, "--role", "root")
    refused(alice.run("trust", "sign", "--renew", "--threshold", "4", "--json"), 1, "nobody could ever change")
    drafted = alice.yes("trust", "sign", "--renew", "--threshold", "2")
    assert (drafted["landed"], drafted["signed"]) == (False, ["alice"])
    assert shown(rosa)["threshold"] == 1
    assert rosa.yes("trust", "sign", "--root", drafted["digest"])["landed"]
    assert shown(rosa)["threshold"] == 2

    # What one drafts the other reads, compares and signs; nothing changes before that.
    drafted = alice.yes("trust", "remove", "ci", "--role", "merger")
    assert not drafted["landed"]
    assert "ci or rosa can" in drafted["missing"]
    waiting = shown(rosa)["draft"]
    assert waiting["digest"] == drafted["digest"]
    assert {row["what"] for row in waiting["changes"]} == {"version", "expires", "ci", "ended"}
    refused(alice.run("trust", "sign", "--json"), 1, "you have signed version")
    refused(alice.run("trust", "add", "rosa", "--role", "policy", "--json"), 1, "drafted already", "--discard")
    refused(rosa.run("trust", "sign", "--root", "sha256:" + "0" * 64, "--json"), 1, "you compared")
    assert rosa.yes("trust", "sign", "--dry-run")["dry_run"]
    done = rosa.yes("trust", "sign", "--root", drafted["digest"])
    assert (done["landed"], done["logged"]) == (True, 0)
    assert shown(alice)["draft"] is None
    refused(ci.run("ci", "merge", "--json"), 1, "merger")
    refused(rosa.run("trust", "sign", "--json"), 2, "no version of the trust root waits")

    # Alice's laptop is gone, and her root key with it. The others give her a new one.
    shutil.rmtree(alice.home / "config" / "agent-pipeline" / "keys")
    fingerprint = alice.yes("join")["fingerprint"]
    refused(alice.run("trust", "rotate", "alice", "--json"), 1, "none of your keys has the role `root`")
    rosa.yes("trust", "rotate", "alice", "--fingerprint", fingerprint)
    done = ci.yes("trust", "sign")
    assert (done["landed"], done["logged"]) == (True, 1)
    root = landed_root(rosa)
    person = root.person("alice")
    assert person is not None
    assert person.keys == (signer(alice).public().keyid,)
    assert alice.run("trust", "remove", "rosa", "--dry-run").code == 0
    assert ci.run("list").code == 0

    # A draft that nobody wants goes away again, and so does what mallory puts in its place.
    drafted = alice.yes("trust", "remove", "rosa", "--role", "reviewer")
    looked = rosa.run("trust", "sign", "--discard", "--dry-run", "--json")
    assert (looked.code, looked.document["discarded"], looked.document["dry_run"]) == (0, False, True), str(looked)
    assert (looked.document["digest"], looked.document["signed"]) == (drafted["digest"], ["alice"])
    assert "rosa" in looked.err
    assert shown(alice)["draft"]["digest"] == drafted["digest"]
    assert rosa.yes("trust", "sign", "--discard")["discarded"]
    team.mallory.push("refs/agent-pipeline/root-draft", team.mallory.commit(team.mallory.tree({"x": b"y"})))
    assert shown(rosa)["draft"] is None
    assert "is no draft" in rosa.run("trust", "sign", "--discard", "--dry-run").err
    assert team.tip("refs/agent-pipeline/root-draft") is not None
    assert rosa.yes("trust", "sign", "--discard")["discarded"]
    assert team.tip("refs/agent-pipeline/root-draft") is None


def test_no_option_of_trust_sign_is_passed_over(at: Callable[[str], Team]) -> None:
    team, digest = at("ready"), "sha256:" + "0" * 64
    for argv, words in (
        (("--discard", "--renew"), ("--discard", "--renew")),
        (("--discard", "--root", digest), ("--discard", "--root")),
        (("--discard", "--renew", "--threshold", "2", "--dry-run"), ("--discard", "--renew")),
        (("--renew", "--root", digest), ("--root", "--renew")),
        (("--discard", "--threshold", "2"), ("--renew",)),
    ):
        refused(team.alice.run("trust", "sign", *argv, "--json"), 2, *words)
    assert shown(team.alice)["draft"] is None


def test_join_shows_what_goes_where_before_it_goes(at: Callable[[str], Team]) -> None:
    team = at("ready")
    eve = Person("eve", team.top / "eve" / "home", team.top / "eve" / "clone")
    eve.git("clone", "-q", str(team.bare), str(eve.clone), cwd=eve.home)
    ref = "refs/agent-pipeline/offers/eve"
    said = eve.yes("join", "--dry-run")
    assert said == {"name": "eve", "keyid": None, "fingerprint": None, "ref": ref, "dry_run": True}
    code, screen = at_a_terminal(eve, "join", answers={"Make it?": "n"})
    assert code == 130, screen
    assert "key          (none) -> " in screen
    assert not [*eve.home.glob("**/keys/*")]
    code, screen = at_a_terminal(eve, "join", answers={"Make it?": "y", "Offer it?": "n"})
    assert code == 130, screen
    assert team.tip(ref) is None
    (key,) = eve.yes("keys", "list")["keys"]
    assert eve.yes("join", "--dry-run")["fingerprint"] == key["fingerprint"]
    assert team.tip(ref) is None
    before_the_question = screen.partition("Offer it?")[0]
    for word in ("name         eve", key["fingerprint"], "roles ", f"{ref} in origin ({team.bare})", "not encrypted"):
        assert word in before_the_question
    code, screen = at_a_terminal(eve, "join", answers={"Offer it?": "y"})
    assert code == 0, screen
    assert "nobody compared" not in screen
    first = team.tip(ref)
    assert first is not None

    # Without a terminal it goes on, and says so; what stands there already is shown.
    done = eve.run("join")
    assert done.code == 0, str(done)
    assert "note: nobody compared that" in done.err
    assert f"{key['fingerprint']} -> {key['fingerprint']}" in done.err
    local = eve.run("join", "--no-push")
    assert (local.code, "in this clone alone" in local.err) == (0, True), str(local)
    team.mallory.push(ref, team.mallory.commit(team.mallory.tree({"offer.dsse.json": b"{}"})))
    assert "(no offer) -> " in eve.run("join").err


def test_pin_shows_whom_it_trusts_before_it_pins(at: Callable[[str], Team]) -> None:
    team = at("ready")
    root = shown(team.rosa)["root"]
    (alice_key,) = next(person["keys"] for person in shown(team.rosa)["people"] if person["name"] == "alice")
    pins = team.rosa.home / "config" / "agent-pipeline" / "pins.json"
    pins.unlink()
    code, screen = at_a_terminal(team.rosa, "trust", "pin", answers={"Pin it?": "n"})
    assert (code, pins.exists()) == (130, False), screen
    before_the_question = screen.partition("Pin it?")[0]
    for word in (root, "version 1, of ", "alice ", "root, requester", alice_key, "it has come to version 3"):
        assert word in before_the_question
    code, screen = at_a_terminal(team.rosa, "trust", "pin", answers={"Pin it?": "y"})
    assert (code, pins.exists()) == (0, True), screen
    assert "nobody compared" not in screen

    # A script that gives no digest goes on, and is told that nobody compared it; one that does has compared.
    pins.unlink()
    blind = team.rosa.run("trust", "pin", "--json")
    assert (blind.code, blind.document["root"]) == (0, root)
    assert [person["keys"] for person in blind.document["people"]] == [[alice_key]]
    assert "note: nobody compared that" in blind.err
    assert alice_key in blind.err
    given = team.rosa.run("trust", "pin", root)
    assert (given.code, "nobody compared" in given.err, alice_key in given.err) == (0, False, True)


def test_a_digest_that_is_not_here_is_set_against_what_is(at: Callable[[str], Team]) -> None:
    team, other = at("ready"), "sha256:" + "0" * 64
    root = shown(team.rosa)["root"]
    pins = team.rosa.home / "config" / "agent-pipeline" / "pins.json"
    before = pins.read_bytes()
    for known in (f"{root} is pinned", f"what stands here is {root}"):
        done = team.rosa.run("trust", "pin", other, "--json")
        refused(done, 2, f"you compared {other}", known, "another repository, or somebody rewrote")
        assert "init" not in done.out
    assert pins.read_bytes() == before
    pins.write_bytes(before.replace(root.removeprefix("sha256:").encode(), b"0" * 64))
    refused(
        team.rosa.run("trust", "pin", "--json"), 1, f"pinned to {other}", f"now offers {root}", "another repository"
    )
    replaced = team.rosa.run("trust", "pin", root)
    assert replaced.code == 0, str(replaced)
    assert f"in place of {other}" in replaced.err


def test_what_a_bot_cannot_do_is_said(at: Callable[[str], Team]) -> None:
    team = at("ready")
    eve = Person("eve", team.top / "eve" / "home", team.top / "eve" / "clone")
    eve.git("clone", "-q", str(team.bare), str(eve.clone), cwd=eve.home)
    fingerprint = eve.yes("join")["fingerprint"]
    for role in ("reviewer", "root"):
        done = team.alice.run(
            "trust", "add", "eve", "--bot", "--role", role, "--fingerprint", fingerprint, "--dry-run", "--json"
        )
        refused(done, 1, "eve is a bot: a bot does not review, and is never root", "give that role to a person")
        assert "find out who wrote it" not in done.err


def test_one_is_not_counted_in_the_plural(at: Callable[[str], Team]) -> None:
    team = at("staged")
    keys = {person["name"]: person["keys"][0] for person in shown(team.alice)["people"]}
    looked = team.alice.run("trust", "revoke", keys["ci"], "--dry-run")
    assert "(1 proposal, 1 entry of the log)" in looked.err, str(looked)
    none = team.alice.run("trust", "revoke", keys["rosa"], "--dry-run")
    assert "(0 proposals, 0 entries of the log)" in none.err, str(none)
    refused(team.alice.run("trust", "revoke", keys["ci"], "--since", "9", "--json"), 2, "the log has 1 entry:")


def test_a_branch_that_takes_no_push_gets_a_pull_request(at: Callable[[str], Team]) -> None:
    team = at("ready")
    hook = team.bare / "hooks" / "pre-receive"
    hook.write_text(HOOK)
    hook.chmod(0o755)
    done = team.alice.yes("trust", "remove", "rosa")
    assert (done["landed"], done["branch"]) == (False, "refs/heads/agent-pipeline-trust")
    assert [person["name"] for person in shown(team.alice)["people"]] == ["alice", "ci", "rosa"]
    hook.unlink()  # who may merges it on the forge
    team.alice.git("push", "-q", "origin", f"{done['commit']}:{MAIN}")
    assert [person["name"] for person in shown(team.alice)["people"]] == ["alice", "ci"]
    ran = team.ci.run("ci", "run")
    assert ran.code == 0, str(ran)
    assert "log: keys of rosa retired" in ran.err
    again = team.ci.run("ci", "run")
    assert "retired" not in again.err


def test_a_trust_root_is_renewed_before_and_after_it_expired(at: Callable[[str], Team]) -> None:
    team = at("ready")
    for days, code in ((20, 0), (-1, 3)):
        _expires_in(team, timedelta(days=days))
        listed = team.alice.run("list", "--json")
        assert listed.code == code, str(listed)
        if code:
            refused(listed, 3, "expired", "trust sign --renew")
        assert "expires on" in str(shown(team.alice)["warning"])
        assert team.alice.yes("trust", "sign", "--renew")["landed"]
        assert shown(team.alice)["warning"] is None
        assert team.alice.run("list").code == 0


# What decides, or goes on from what was decided: none of it knows whether its rules still hold.
DECIDING = (
    ("ci", "run"), ("ci", "run", "ID"), ("ci", "replay", "ID", "--out", "replay.json"), ("ci", "stage", "ID"),
    ("ci", "merge"), ("ci", "merge", "ID"), ("land", "ID"), ("review", "list"),
    ("review", "approve", "ID", "--tree", "TREE"), ("review", "reject", "ID", "--reason", "no"),
    ("list",), ("show", "ID"), ("audit", "verify"), ("audit", "tail"), ("close", "ID"), ("stop", "--all"), ("resume",),
    ("bundle", "export", "ID", "again.agentpatch"), ("bundle", "import", "FILE"), ("request", "x", "--dry-run"),
    ("trust", "add", "rosa", "--role", "requester"),
)  # fmt: skip


def test_by_an_expired_trust_root_nothing_can_be_told_and_nothing_is_refused_for_good(
    at: Callable[[str], Team],
) -> None:
    team = at("proposed")
    file, words = str(team.top / "it.agentpatch"), {"ID": team.id, "TREE": team.found["tree"]}
    _expires_in(team, timedelta(seconds=20))
    team.alice.yes("bundle", "export", team.id, file)
    assert team.alice.run("bundle", "verify", file).code == 0
    expires = str(shown(team.alice)["expires"])
    while clock.now() < clock.parse_rfc3339(expires):
        clock.sleep(0.2)

    before, pin = team.alice.git("ls-remote", str(team.bare)), str(shown(team.alice)["root"])
    words["FILE"] = file
    whose = {"ci": team.ci, "review": team.rosa}
    for argv in DECIDING:
        done = whose.get(argv[0], team.alice).run(*(words.get(word, word) for word in argv), "--json")
        refused(done, 3, "version 4", "main, expired at", expires, "alice", "agent-pipeline trust sign --renew")
    for pinned in ((), ("--root", pin)):
        offline = team.rosa.run("bundle", "verify", file, *pinned, "--json")
        told = {row["name"]: row for row in offline.document["checks"] if row["outcome"] not in ("passed", "skipped")}
        assert (offline.code, offline.document["verdict"], list(told)) == (3, "unknown", ["03 trust root"])
        assert (offline.document["proofs"], "expired" in told["03 trust root"]["reason"]) == ([], True)
    assert team.alice.git("ls-remote", str(team.bare)) == before

    assert team.alice.yes("trust", "sign", "--renew")["landed"]
    code, results = team.ci_run()
    assert (code, results[team.id]["verdict"]) == (0, "passed")


def _expires_in(team: Team, left: timedelta) -> None:
    """Put a version on the branch that expires so soon: somebody forgot to renew it."""
    alice, root = team.alice, landed_root(team.alice)
    alice.git("pull", "-q", "--ff-only", "origin", "main")
    draft = drafts.renew(root, expires=clock.now() + left)
    key = signer(alice)
    path = alice.clone / file_name(draft.version, key.public().keyid)
    path.write_bytes(key.envelope(PAYLOAD_TYPE, draft.to_json()).to_json() + b"\n")
    alice.git("add", str(path))
    alice.git("commit", "-q", "-m", "Renew it, for too short a time")
    alice.git("push", "-q", "origin", "main")


def test_a_version_that_no_reader_would_take_locks_nobody_out(desk: Desk) -> None:
    clone, key = Clone.discover(desk.clone), signer(desk.person).public()
    private = load_ssh_private_key((desk.config / "keys" / "default").read_bytes(), None)
    assert isinstance(private, Ed25519PrivateKey)
    (first,) = versions(clone, clone.commit("HEAD"))
    root = trust.parse(Envelope.from_json(first[0]).payload)
    for version in range(2, trust.MAX_VERSIONS + 1):
        payload = replace(root, version=version).to_json()
        sealed = Envelope(PAYLOAD_TYPE, payload, key.keyid, private.sign(dsse.pae(PAYLOAD_TYPE, payload)))
        (desk.clone / file_name(version, key.keyid)).write_bytes(sealed.to_json() + b"\n")
    desk.person.git("add", ".agent-pipeline/trust")
    desk.person.git("commit", "-q", "-m", "As many versions as are read")
    before, shown_before = desk.refs(), desk.run("trust", "show").document
    refused(desk.run("trust", "sign", "--renew"), 1, f"{trust.MAX_VERSIONS + 1} versions")
    assert (desk.refs(), desk.run("trust", "show").document) == (before, shown_before)


def test_alone_a_root_key_signs_its_own_successor(desk: Desk) -> None:
    (only,) = desk.run("trust", "show").document["people"][0]["keys"]
    looked = desk.run("trust", "revoke", only, "--dry-run")
    assert (looked.code, looked.document["dry_run"], looked.document["proposals"]) == (1, True, []), str(looked)
    assert "nobody could ever change" in looked.document["refused"]
    made = desk.run("keys", "generate", "next")
    assert made.code == 0, str(made)
    person = desk.run("trust", "show").document["people"][0]["name"]
    keys = sorted(desk.person.home.glob("**/agent-pipeline/keys/next"))
    offered = desk.run("join", AGENT_PIPELINE_KEY=str(keys[0]))
    assert offered.code == 0, str(offered)
    assert offered.document["name"] == person
    done = desk.run("trust", "rotate", person, "--fingerprint", offered.document["fingerprint"])
    assert (done.code, done.document["landed"], done.document["logged"]) == (0, True, 0), str(done)
    after = desk.run("trust", "show").document
    assert after["people"][0]["keys"] == [offered.document["fingerprint"]]
    assert [(row["until"], row["revoked"]) for row in after["former"]] == [(1, False)]
    (keys[0].parent / "default").unlink()
    (keys[0].parent / "default.pub").unlink()
    alone = desk.run("trust", "remove", person)
    assert (alone.code, json.loads(alone.out)["error"]["kind"]) == (1, "SignatureError")
    assert "nobody could ever change" in alone.err
    assert desk.run("trust", "sign", "--renew").document["landed"]
