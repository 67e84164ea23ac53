"""Attacks on the trust root and on those whom it trusts, by their numbers in the threat catalogue.

Where bytes decide, they are made here with fixed keys; where a repository does, separate people with separate homes
play it on a bare repository that everybody may push to, the attacker too.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from support.teams import LOG, MAIN, Team
from support.trust import NOW, POLICY, TEAM, Maker, public, root_of, seal_root

from agent_pipeline.attestation import drafts, keys, trust
from agent_pipeline.documents import strict
from agent_pipeline.documents.approval import REJECTED
from agent_pipeline.documents.policy import Policy
from agent_pipeline.documents.root import Key, Person, TrustRoot, first_digest
from agent_pipeline.documents.verification import FAILED, UNKNOWN, Verification
from agent_pipeline.errors import SchemaError, SignatureError, UnavailableError
from agent_pipeline.policy import load as load_policy
from agent_pipeline.verify import decide

At = Callable[[str], Team]
LATER = NOW + timedelta(days=365)
ROOTS = {"ada": ("root",), "bob": ("root",), "cy": ("root",)}
TWO = root_of(ROOTS, threshold=2)
# The points of small order, and one written in a way that is not canonical (RFC 8032, 5.1.3; CCTV).
WEAK = (
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)


def loaded(*versions: tuple[TrustRoot, tuple[str, ...]]) -> TrustRoot:
    chain = [seal_root(root, *names) for root, names in versions]
    return trust.load_root(chain, pin=first_digest(versions[0][0].to_json()), now=NOW)


def failed(decision: Verification) -> dict[str, str]:
    return {check.name[3:]: check.reason for check in decision.checks if check.outcome == FAILED}


# Keys and people.


def test_011_one_key_under_two_ids_meets_no_threshold_of_two() -> None:
    """securesystemslib 1.6.0, python-tuf 7.0.1 and go-securesystemslib count it twice."""
    alias = replace(public("ada"), keyid="f" * 64, owner="bob")
    people = (Person("ada", (public("ada").keyid,), ("root",)), Person("bob", (alias.keyid,), ("root",)))
    root = replace(TWO, keys=(replace(public("ada"), owner="ada"), alias), people=people)
    with pytest.raises(SignatureError, match="not the key that its id names"):
        trust.parse(root.to_json())
    with pytest.raises(SignatureError, match="needs 2 of the people"):
        loaded((TWO, ("ada", "ada")))


def test_012_two_keys_of_one_person_are_one_person() -> None:
    both = tuple(replace(public(name), owner="ada") for name in ("ada", "ada2"))
    people = (Person("ada", tuple(key.keyid for key in both), ("root",)), *TWO.people[1:])
    root = replace(TWO, keys=tuple(sorted((*both, *TWO.keys[1:]), key=lambda key: key.keyid)), people=people)
    rest = tuple(key for key in TWO.keys if key.owner != "ada")
    root = replace(root, keys=tuple(sorted((*both, *rest), key=lambda key: key.keyid)))
    with pytest.raises(SignatureError, match=r"needs 2 of the people.*ada signed"):
        loaded((root, ("ada", "ada2")))
    assert loaded((root, ("ada", "bob"))) == root
    with pytest.raises(SignatureError, match="wants 2 people"):
        trust.parse(replace(root, keys=both, people=people[:1]).to_json())


@pytest.mark.parametrize("text", WEAK)
def test_013_a_key_for_which_anybody_can_sign_enters_no_trust_root(text: str) -> None:
    weak = Key("0" * 64, keys.ED25519, text, "eve")
    with pytest.raises(SignatureError, match="refused"):
        drafts.add(TWO, "eve", weak, ("reviewer",), expires=LATER)
    root = replace(TWO, keys=(*TWO.keys, weak), people=(*TWO.people, Person("eve", (weak.keyid,), ("reviewer",))))
    with pytest.raises(SignatureError, match="refused"):
        trust.parse(root.to_json())


# Reviews.


@pytest.mark.parametrize(
    ("maker", "said"),
    [
        (Maker(requester="mel", reviewers=("mel",)), "asked for the change"),
        (Maker(root=root_of(TEAM | {"ada": (*TEAM["ada"], "reviewer")}, bots=("robot",)), requester="mel",
               reviewers=("ada",)), "owns the runner"),
        (Maker(root=root_of(TEAM | {"ada": (*TEAM["ada"], "reviewer")}, bots=("robot",)), reviewers=("ada",)),
         "asked for the change"),
    ],
    ids=["who asked", "who runs the agent", "who is both"],
)  # fmt: skip
def test_052_nobody_reviews_what_he_asked_for_or_ran(maker: Maker, said: str) -> None:
    assert said in failed(decide(maker.landing()))["reviews"]


def test_052_a_bot_is_no_reviewer_and_no_root() -> None:
    for role in ("reviewer", "root"):
        with pytest.raises(SignatureError, match="robot is a bot"):
            drafts.add(root_of(TEAM, bots=("robot",)), "robot", None, (role,), expires=LATER)
    bot = root_of(TEAM, bots=("robot", "rita"))  # no reader takes such a root; if one did, she would not count
    found = failed(decide(Maker(root=bot).landing()))
    assert "rita is a bot" in found["trust root"]
    assert "0 of 1 reviews" in found["reviews"]


def test_053_an_approval_that_was_taken_back_does_not_count() -> None:
    maker = Maker()
    given = maker.landing()
    rejected = replace(given, attestations=(*given.attestations, maker.approval("rita", REJECTED)))
    assert set(failed(decide(rejected))) == {"rejections", "reviews", "persons"}


def test_054_who_could_sign_has_not_signed() -> None:
    """gittuf counted the trusted people instead of the signers (#1315)."""
    assert "0 of 1 reviews" in failed(decide(Maker(reviewers=()).landing()))["reviews"]
    with pytest.raises(SignatureError, match="; ada signed"):
        loaded((TWO, ("ada",)))


def test_055_an_approval_by_a_key_in_another_role_is_none() -> None:
    """Among them people who would count if they were reviewers: neither bots, nor who asked, nor who ran the agent."""
    roles = ("requester", "runner", "ci", "merger", "policy", "root")
    maker = Maker(root=root_of(TEAM | {f"pat-{role}": (role,) for role in roles}, bots=("robot",)), reviewers=())
    given = maker.landing()
    others = [maker.approval(name) for name in ("robot", "ada", "eve", *(f"pat-{role}" for role in roles))]
    assert "0 of 1 reviews" in failed(decide(replace(given, attestations=(*given.attestations, *others))))["reviews"]
    counted = decide(replace(given, attestations=(*given.attestations, *others, maker.approval("rita"))))
    assert failed(counted) == {}


# Versions, keys and time.


def test_056_an_older_trust_root_that_everybody_signed_is_not_taken_again(at: At) -> None:
    """gittuf took an older policy as long as its signers were still trusted (4ca6e657)."""
    team = at("ready")
    before = team.mallory.ref(MAIN)
    newest = team.alice.yes("trust", "remove", "rosa")["commit"]
    team.mallory.push(MAIN, before)
    refused = team.alice.run("list", "--json")
    assert refused.code == 1, str(refused)
    assert "was rewound or replaced: version 4 of the trust root was seen here" in refused.document["error"]["message"]
    for person in (team.rosa, team.ci):  # they never saw it; the log has, and says so
        refused = person.run("list", "--json")
        assert refused.code == 1, str(refused)
        assert "goes by version 4 of the trust root" in refused.document["error"]["message"]
    team.alice.git("push", "-q", "origin", f"{newest}:{MAIN}")  # as the error says
    assert team.alice.run("list").code == 0


def test_057_a_skipped_version_and_one_by_the_new_people_alone_are_no_chain() -> None:
    second = drafts.renew(TWO, expires=LATER)
    third = drafts.renew(second, expires=LATER)
    with pytest.raises(SignatureError, match="stands where version 2 belongs"):
        loaded((TWO, ("ada", "bob")), (third, ("ada", "bob")))
    coup = root_of({"eve": ("root",), "mallory": ("root",)}, threshold=2, version=2)
    with pytest.raises(SignatureError, match="nobody signed"):
        loaded((TWO, ("ada", "bob")), (coup, ("eve", "mallory")))


def test_058_an_expired_root_and_thresholds_that_mean_nothing() -> None:
    envelopes, pin = seal_root(TWO, "ada", "bob"), first_digest(TWO.to_json())
    with pytest.raises(UnavailableError, match="expired"):
        trust.load_root([envelopes], pin=pin, now=NOW + timedelta(days=300))
    assert "03 trust root" in {c.name for c in decide(replace_now(Maker())).checks if c.outcome == UNKNOWN}
    for threshold in (0, -1):
        with pytest.raises(SchemaError):
            trust.parse(replace(TWO, threshold=threshold).to_json())
    with pytest.raises(SignatureError, match="wants 4 people"):
        trust.parse(replace(TWO, threshold=4).to_json())


def replace_now(maker: Maker) -> object:
    given = maker.landing()
    return replace(given, inputs=replace(given.inputs, now=NOW + timedelta(days=3000)))


@pytest.mark.parametrize(
    "change",
    [
        lambda root: root | {"delegations": {"keys": {}, "roles": []}},
        lambda root: root | {"roles": root["roles"] | {"wider": root["roles"]["root"]}},
        lambda root: root | {"roles": root["roles"] | {"targets": {"keyids": [], "threshold": 1}}},
    ],
    ids=["delegations", "a role of one's own", "TUF's roles held by others"],
)
def test_059_nobody_hands_on_what_he_was_given(change: Callable[[dict[str, object]], dict[str, object]]) -> None:
    """There are no delegations: every role is given by the root's holders, in the one form that is read."""
    with pytest.raises(SchemaError):
        trust.parse(strict.canonical(change(TWO.to_dict())))


def test_060_a_rule_that_is_not_known_is_a_no() -> None:
    with pytest.raises(SchemaError):
        trust.parse(TWO.to_json().replace(b'"roles":["root"]', b'"roles":["emperor"]', 1))
    with pytest.raises(SchemaError):
        trust.parse(strict.canonical(TWO.to_dict() | {"x-rules": []}))
    for old, new in ((b"reviewers: 1", b"reviewers: 1\n  rule: unheard-of"), (b"[signed]", b"[signed, blessed]")):
        with pytest.raises(SchemaError):
            load_policy(POLICY.replace(old, new))


def test_061_a_policy_that_changed_between_verification_and_merge_lands_nothing() -> None:
    given = Maker().landing()
    weaker = POLICY.replace(b"reviewers: 1", b"reviewers: 0").replace(b"persons: 3", b"persons: 1")
    assert isinstance(load_policy(weaker), Policy)
    changed = replace(given, inputs=replace(given.inputs, policy_bytes=weaker))
    assert {"policy", "admitted"} <= set(failed(decide(changed)))


def test_063_a_thief_s_entries_after_the_revocation_say_nothing(at: At) -> None:
    """Mallory has stolen CI's key and its clone. She admits with it, offline, and pushes over the log."""
    team = at("proposed")
    thief = replace(team.ci, name="thief", home=team.top / "thief" / "home", clone=team.top / "thief" / "clone")
    for name in ("home", "clone"):
        shutil.rmtree(getattr(thief, name), ignore_errors=True)
        shutil.copytree(team.top / "ci" / name, getattr(thief, name), symlinks=True)
    thief.git("fetch", "-q", "origin", "+refs/agent-pipeline/*:refs/remotes-stolen/*")
    assert thief.run("ci", "run", "--json").code == 0  # before the theft is noticed: admitted, entry 0
    fingerprint = keys_of(team, "ci")
    listed = team.alice.yes("trust", "revoke", fingerprint, "--since", "0", "--dry-run")
    assert [(row["state"], row["command"]) for row in listed["proposals"]] == [
        ("staged", f"agent-pipeline close {team.id}")
    ]
    assert [(row["index"], row["event"], row["void"]) for row in listed["entries"]] == [(0, "admitted", True)]
    done = team.alice.yes("trust", "revoke", fingerprint, "--since", "0")
    assert (done["landed"], done["logged"]) == (True, 1)
    shown = json.loads(team.shown(team.alice).out)
    assert shown["state"] == "proposed"  # the thief's admission is void
    assert "replayed" not in shown["proofs"]
    refused = thief.run("ci", "run", "--json")
    assert refused.code == 1, str(refused)
    assert "was revoked: as `ci` it counts below entry 0" in refused.document["error"]["message"]
    team.mallory.fetch()
    stolen_head = team.mallory.ref(LOG)
    parent = team.mallory.git("rev-parse", f"{stolen_head}^").strip()
    team.mallory.push(LOG, parent)  # the entry that revokes is gone
    refused = team.alice.run("list", "--json")
    assert refused.code == 1, str(refused)
    assert "the log was rewound or replaced" in refused.document["error"]["message"]
    assert (
        json.loads(team.shown(team.rosa).out)["state"] == "proposed"
    )  # the trust root alone says so to who never saw it


def keys_of(team: Team, name: str) -> str:
    people = team.alice.yes("trust", "show")["people"]
    (found,) = [person["keys"][0] for person in people if person["name"] == name]
    return str(found)
