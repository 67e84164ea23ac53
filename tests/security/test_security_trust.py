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
from support.courts import refused, refusing
from support.hostile import stolen
from support.logs import prove
from support.teams import LOG, MAIN, Team
from support.trust import NOW, POLICY, TEAM, Maker, public, root_of, seal_root, sign

from agent_pipeline.attestation import drafts, keys, trust
from agent_pipeline.documents import strict
from agent_pipeline.documents.approval import REJECTED
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.policy import Policy
from agent_pipeline.documents.root import Key, Person, TrustRoot, first_digest
from agent_pipeline.documents.statement import Statement
from agent_pipeline.documents.verification import PASSED, UNKNOWN
from agent_pipeline.errors import SchemaError, SignatureError, UnavailableError
from agent_pipeline.policy import load as load_policy
from agent_pipeline.verify import decide, verify

At = Callable[[str], Team]
LATER = NOW + timedelta(days=365)
ROOTS = {"ada": ("root",), "bob": ("root",), "cy": ("root",)}
TWO = root_of(ROOTS, threshold=2)
TWO_REVIEWERS = POLICY.replace(b"reviewers: 1", b"reviewers: 2")
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
    maker = Maker(root=with_second_key(root_of(TEAM, bots=("robot",)), "rita"), policy=TWO_REVIEWERS)
    given = maker.landing()
    again = sign(Statement.from_json(Envelope.from_json(given.attestations[-1]).payload), "rita-2")
    refused(decide(replace(given, attestations=(*given.attestations, again))), "38 reviews", "1 of 2")
    other = maker.approval("rex")
    assert decide(replace(given, attestations=(*given.attestations, again, other))).verdict == PASSED
    instead = (*given.attestations[:-1], again, other)  # it is her key as much as the first one
    assert decide(replace(given, attestations=instead)).verdict == PASSED


def with_second_key(root: TrustRoot, name: str) -> TrustRoot:
    """The same people, and somebody has one key more."""
    key = replace(public(f"{name}-2"), owner=name)
    people = tuple(replace(one, keys=(*one.keys, key.keyid)) if one.name == name else one for one in root.people)
    return replace(root, keys=tuple(sorted((*root.keys, key), key=lambda one: one.keyid)), people=people)


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
    refused(decide(maker.landing()), "38 reviews", said)


def test_052_a_bot_is_no_reviewer_and_no_root() -> None:
    for role in ("reviewer", "root"):
        with pytest.raises(SignatureError, match="robot is a bot"):
            drafts.add(root_of(TEAM, bots=("robot",)), "robot", None, (role,), expires=LATER)
    bot = root_of(TEAM, bots=("robot", "rita"))  # no reader takes such a root; if one did, she would not count
    decision = decide(Maker(root=bot).landing())
    refused(decision, "03 trust root", "rita is a bot")
    refused(decision, "38 reviews", "0 of 1 reviews")


def test_053_an_approval_that_was_taken_back_does_not_count() -> None:
    maker = Maker()
    given = maker.landing()
    rejected = replace(given, attestations=(*given.attestations, maker.approval("rita", REJECTED)))
    assert refusing(decide(rejected)) == {"37 rejections", "38 reviews", "39 persons"}


def test_054_who_could_sign_has_not_signed() -> None:
    """gittuf counted the trusted people instead of the signers (#1315)."""
    refused(decide(Maker(reviewers=()).landing()), "38 reviews", "0 of 1 reviews")
    with pytest.raises(SignatureError, match="; ada signed"):
        loaded((TWO, ("ada",)))


def test_055_an_approval_by_a_key_in_another_role_is_none() -> None:
    """Among them people who would count if they were reviewers: neither bots, nor who asked, nor who ran the agent."""
    roles = ("requester", "runner", "ci", "merger", "policy", "root")
    maker = Maker(root=root_of(TEAM | {f"pat-{role}": (role,) for role in roles}, bots=("robot",)), reviewers=())
    given = maker.landing()
    others = [maker.approval(name) for name in ("robot", "ada", "eve", *(f"pat-{role}" for role in roles))]
    decision = decide(replace(given, attestations=(*given.attestations, *others)))
    refused(decision, "38 reviews", "0 of 1 reviews")
    counted = decide(replace(given, attestations=(*given.attestations, *others, maker.approval("rita"))))
    assert refusing(counted) == set()


# Versions, keys and time.


def test_056_an_older_trust_root_that_everybody_signed_is_not_taken_again(at: At) -> None:
    """gittuf took an older policy as long as its signers were still trusted (4ca6e657)."""
    team = at("ready")
    before = team.mallory.ref(MAIN)
    newest = team.alice.yes("trust", "remove", "rosa")["commit"]
    team.mallory.push(MAIN, before)
    done = team.alice.run("list", "--json")
    assert done.code == 1, str(done)
    assert "was rewound or replaced: version 4 of the trust root was seen here" in done.document["error"]["message"]
    for person in (team.rosa, team.ci):  # they never saw it; the log has, and says so
        done = person.run("list", "--json")
        assert done.code == 1, str(done)
        assert "goes by version 4 of the trust root" in done.document["error"]["message"]
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
    assert {"11 policy", "34 admitted"} <= refusing(decide(changed))


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
    said_no = thief.run("ci", "run", "--json")
    assert said_no.code == 1, str(said_no)
    assert "was revoked: as `ci` it counts below entry 0" in said_no.document["error"]["message"]
    team.mallory.fetch()
    stolen_head = team.mallory.ref(LOG)
    parent = team.mallory.git("rev-parse", f"{stolen_head}^").strip()
    team.mallory.push(LOG, parent)  # the entry that revokes is gone
    said_no = team.alice.run("list", "--json")
    assert said_no.code == 1, str(said_no)
    assert "the log was rewound or replaced" in said_no.document["error"]["message"]
    assert (
        json.loads(team.shown(team.rosa).out)["state"] == "proposed"
    )  # the trust root alone says so to who never saw it


def test_063_a_thief_who_goes_on_after_the_revocation_is_named_and_nobody_goes_on(at: At) -> None:
    """One entry by CI's stolen key before `trust revoke`, which is only void, and one pushed after it."""
    team = at("approved")
    stolen(team, team.mallory.ref(LOG), "rejected", detail="before it was noticed")
    team.alice.yes("trust", "revoke", keys_of(team, "ci"), "--since", "1")
    audit = team.rosa.yes("audit", "verify")
    assert (audit["findings"], audit["entries"], audit["void"]) == ([], 3, 1)  # an honest log, and nobody's fault
    team.mallory.fetch()
    good = team.mallory.ref(LOG)
    late = stolen(team, good, "approved", detail="after it")
    why = "entry 3 of the log is signed by key "
    for argv in (("list",), ("ci", "merge", team.id), ("stop", "--all")):
        done = team.alice.run(*argv, "--json")  # she has every role that these want
        assert done.code == 1, str(done)
        message = done.document["error"]["message"]
        assert why in message, message
        assert "which entry 2 had revoked" in message
    assert team.tip(LOG) == late
    done = team.rosa.run("audit", "verify", "--json")
    assert done.code == 1, str(done)
    (found,) = done.document["findings"]
    assert (found["index"], found["signer"]) == (3, "ci")
    assert found["committer"].startswith("agent-pipeline <")
    assert why in found["what"]
    assert "put refs/agent-pipeline/log back" in found["todo"]
    team.mallory.push(LOG, good)  # as the finding says
    assert team.rosa.yes("audit", "verify")["findings"] == []


def test_063_the_verifier_refuses_a_log_in_which_a_revoked_key_goes_on() -> None:
    """Somebody else's entry is put on top, so that there is a proof of it."""
    before = root_of({**TEAM, "robin": ("ci", "merger")}, bots=("robot", "robin"))
    root = drafts.revoke(before, public("robot").keyid, since=1, expires=LATER)
    maker, robin = Maker(root=before), Maker(root=root, ci="robin")
    about_all = {"request": None, "number": None, "statement": None}
    told = [maker.admission()]
    told.append(robin.entry(told, "revoked", keys=(public("robot").keyid,), since=1, **about_all))
    late = [*told, maker.entry(told, "approved", reviewer="rita")]
    late.append(robin.entry(late, "resumed", **about_all))
    inputs = replace(maker.inputs(), root=root)
    assert verify(replace(inputs, log=prove(told, inputs.request))).verdict == PASSED
    refused(verify(replace(inputs, log=prove(late, inputs.request))), "30 log", "which entry 1 had revoked")


def keys_of(team: Team, name: str) -> str:
    people = team.alice.yes("trust", "show")["people"]
    (found,) = [person["keys"][0] for person in people if person["name"] == name]
    return str(found)
