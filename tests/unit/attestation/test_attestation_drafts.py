"""Drafting the next version of a trust root: what ends is kept, and nobody is locked out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.trust import NOW, ended, public, root_of, seal_root

from agent_pipeline.attestation import ballots, drafts, trust
from agent_pipeline.attestation.changes import differences
from agent_pipeline.documents import moments
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.root import ROLES, Former, TrustRoot, first_digest
from agent_pipeline.errors import AgentPipelineError, SchemaError, SignatureError, UsageError

TEAM = {"ada": ("root", "requester"), "bob": ("root", "runner"), "rita": ("reviewer",), "ci": ("ci", "merger")}
ROOT = root_of(TEAM, bots=("ci",))
LATER = NOW + timedelta(days=365)
ADA, BOB, RITA, CI = (public(name).keyid for name in ("ada", "bob", "rita", "ci"))


def chain(*versions: tuple[TrustRoot, tuple[str, ...]]) -> TrustRoot:
    """Load these versions, each signed by these people."""
    return trust.load_root(
        [seal_root(root, *names) for root, names in versions], pin=first_digest(versions[0][0].to_json()), now=NOW
    )


def test_whoever_is_removed_speaks_for_the_log_before() -> None:
    root = drafts.remove(ROOT, "rita", (), until=7, expires=LATER)
    assert root.version == 2
    assert root.person("rita") is None
    assert root.key(RITA) is None
    assert root.former == ended(ROOT, 7, "rita")
    assert [root.speaker(RITA, at) is not None for at in (0, 6, 7, 8, None)] == [True, True, False, False, False]
    before = root.speaker(RITA, 6)
    assert before is not None
    assert (before.name, before.roles, before.bot) == ("rita", ("reviewer",), False)
    assert chain((ROOT, ("ada",)), (root, ("ada",))) == root


def test_a_role_that_is_taken_counts_for_the_log_before() -> None:
    root = drafts.remove(ROOT, "ci", ("merger",), until=3, expires=LATER)
    roles = {at: person.roles for at in (2, 3, None) if (person := root.speaker(CI, at)) is not None}
    assert roles == {2: ("ci", "merger"), 3: ("ci",), None: ("ci",)}
    again = drafts.remove(root, "ci", (), until=9, expires=LATER)
    assert [grant.roles for grant in again.ended(CI)] == [("merger",), ("ci",)]
    assert chain((ROOT, ("bob",)), (root, ("ada",)), (again, ("ada",))) == again


def test_the_last_role_takes_the_person_along() -> None:
    root = drafts.remove(ROOT, "rita", ("reviewer",), until=1, expires=LATER)
    assert root.person("rita") is None


def test_a_rotated_key_keeps_what_it_signed() -> None:
    root = drafts.rotate(ROOT, "rita", RITA, public("rita2"), until=4, expires=LATER)
    old, new = root.speaker(RITA, 3), root.speaker(public("rita2").keyid, None)
    assert old is not None
    assert new is not None
    assert old.name == new.name == "rita"
    assert root.speaker(RITA, 4) is None


def test_a_revoked_key_counts_below_the_theft_only_and_never_comes_back() -> None:
    first = drafts.remove(ROOT, "ci", ("merger",), until=3, expires=LATER)
    root = drafts.revoke(first, CI, since=5, expires=LATER)
    assert {(grant.until, grant.revoked) for grant in root.former} == {(3, True), (5, True)}
    person = root.person("ci")
    assert person is not None
    assert person.keys == ()
    assert person.roles == ("ci",)
    earlier = drafts.revoke(root, CI, since=1, expires=LATER)
    assert {grant.until for grant in earlier.former} == {1}
    with pytest.raises(UsageError, match="revoked already, from entry 5"):
        drafts.revoke(root, CI, since=8, expires=LATER)
    for again in (
        lambda: drafts.add(root, "ci", public("ci"), ("ci",), expires=LATER),
        lambda: drafts.rotate(root, "ci", None, public("ci"), until=9, expires=LATER),
    ):
        with pytest.raises(UsageError, match="never comes back"):
            again()
    fresh = drafts.rotate(root, "ci", None, public("ci2"), until=9, expires=LATER)
    assert chain((ROOT, ("ada",)), (first, ("ada",)), (root, ("bob",)), (fresh, ("ada",))) == fresh


def test_a_key_that_ended_in_good_order_may_come_back_to_its_owner_only() -> None:
    root = drafts.remove(ROOT, "rita", (), until=7, expires=LATER)
    back = drafts.add(root, "rita", public("rita"), ("reviewer",), expires=LATER)
    assert back.speaker(RITA, None) is not None
    with pytest.raises(UsageError, match="rita's"):
        drafts.add(root, "rex", public("rita"), ("reviewer",), expires=LATER)


REFUSED: dict[str, tuple[Callable[[], object], type[AgentPipelineError], str]] = {
    "the only root": (
        lambda: drafts.remove(root_of({"solo": drafts.ALONE}), "solo", (), until=1, expires=LATER),
        SignatureError, "nobody could ever change",
    ),
    "the only root's role": (
        lambda: drafts.remove(root_of({"solo": drafts.ALONE}), "solo", ("root",), until=1, expires=LATER),
        SignatureError, "nobody could ever change",
    ),
    "the only root's key": (
        lambda: drafts.revoke(root_of({"solo": drafts.ALONE}), public("solo").keyid, since=0, expires=LATER),
        SignatureError, "nobody could ever change",
    ),
    "a threshold of everybody and one more": (
        lambda: drafts.renew(ROOT, expires=LATER, threshold=3), SignatureError, "nobody could ever change",
    ),
    "a threshold of nobody": (lambda: drafts.renew(ROOT, expires=LATER, threshold=0), SchemaError, "threshold"),
    "somebody unknown": (
        lambda: drafts.remove(ROOT, "eve", (), until=1, expires=LATER), UsageError, "not in the trust root",
    ),
    "a role that he does not have": (
        lambda: drafts.remove(ROOT, "rita", ("ci",), until=1, expires=LATER), UsageError, "does not have the role ci",
    ),
    "a role that there is not": (
        lambda: drafts.remove(ROOT, "rita", ("king",), until=1, expires=LATER), UsageError, "no role 'king'",
    ),
    "the same key again": (
        lambda: drafts.rotate(ROOT, "rita", RITA, public("rita"), until=1, expires=LATER), UsageError, "already",
    ),
    "somebody else's key as the new one": (
        lambda: drafts.rotate(ROOT, "rita", RITA, public("bob"), until=1, expires=LATER), UsageError, "bob's",
    ),
    "somebody else's key as the old one": (
        lambda: drafts.rotate(ROOT, "rita", BOB, public("new"), until=1, expires=LATER), UsageError, "not rita's",
    ),
    "a key that nobody has": (lambda: drafts.revoke(ROOT, "0" * 64, since=0, expires=LATER), UsageError, "no key"),
    "a bot as reviewer": (
        lambda: drafts.add(ROOT, "ci", None, ("reviewer",), expires=LATER), SignatureError, "is a bot",
    ),
    "a bot as root": (lambda: drafts.add(ROOT, "ci", None, ("root",), expires=LATER), SignatureError, "is a bot"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    draft, kind, said = REFUSED[name]
    with pytest.raises(kind, match=said):
        draft()


TAKEN_BACK: dict[str, Callable[[TrustRoot], TrustRoot]] = {
    "the whole grant": lambda root: replace(root, former=()),
    "its end": lambda root: replace(root, former=tuple(replace(one, until=99) for one in root.former)),
    "the theft": lambda root: replace(root, former=tuple(replace(one, revoked=False) for one in root.former)),
    "its roles": lambda root: replace(root, former=tuple(replace(one, roles=("ci",)) for one in root.former)),
}


@pytest.mark.parametrize("name", TAKEN_BACK)
def test_no_quorum_takes_back_what_ended(name: str) -> None:
    second = drafts.revoke(ROOT, CI, since=4, expires=LATER)
    third = TAKEN_BACK[name](drafts.renew(second, expires=LATER))
    with pytest.raises(SignatureError, match="takes back"):
        chain((ROOT, ("ada",)), (second, ("ada",)), (third, ("ada", "bob")))


def test_no_version_forgets_what_a_key_could_speak_for() -> None:
    gone = root_of({name: roles for name, roles in TEAM.items() if name != "rita"}, bots=("ci",), version=2)
    with pytest.raises(SignatureError, match=r"forgets what key \w+ of rita"):
        chain((ROOT, ("ada",)), (gone, ("ada",)))
    less = root_of(TEAM | {"ci": ("ci",)}, bots=("ci",), version=2)
    with pytest.raises(SignatureError, match=r"forgets what key \w+ of ci"):
        chain((ROOT, ("ada",)), (less, ("ada",)))


UNSOUND: dict[str, tuple[Callable[[Former], tuple[Former, ...]], str]] = {
    "a revoked key that is listed": (lambda one: (replace(one, revoked=True),), "revoked, and is listed"),
    "another owner": (lambda one: (replace(one, owner="mallory"),), "another owner"),
    "other material under its id": (lambda one: (replace(one, public=public("eve").public),), "its id"),
    "half of it revoked": (
        lambda one: (
            replace(one, keyid=public("x").keyid, public=public("x").public, revoked=True),
            replace(one, keyid=public("x").keyid, public=public("x").public, until=1),
        ),
        "as a whole",
    ),
    "a small-order key": (lambda one: (replace(one, public="01" + "00" * 31),), "refused|its id"),
    "a bot that reviewed": (lambda one: (replace(one, bot=True, roles=("reviewer",)),), "bot"),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_ends_that_nobody_should_rely_on(name: str) -> None:
    change, said = UNSOUND[name]
    former = change(ended(ROOT, 5, "bob")[0])
    with pytest.raises(SignatureError, match=said):
        trust.parse(replace(ROOT, former=former).to_json())


def test_what_people_are_shown_is_everything_that_changes() -> None:
    root = drafts.rotate(
        drafts.renew(ROOT, expires=LATER, threshold=2), "rita", RITA, public("rita2"), until=4, expires=LATER
    )
    rows = {row.what: (row.before, row.after) for row in differences(ROOT, root) if row.what != "key"}
    assert rows["version"] == ("1", "3")
    assert rows["threshold"] == ("1", "2")
    assert rows["expires"] == (ROOT.expires, moments.write(LATER))
    assert rows["ended"][1].startswith("rita: SHA256:")
    assert rows["ended"][1].endswith("as reviewer counts below entry 4")
    keys = [(row.before, row.after) for row in differences(ROOT, root) if row.what == "key"]
    assert len(keys) == 2
    assert all(one.startswith("rita: SHA256:") for pair in keys for one in pair if one)
    assert differences(ROOT, ROOT) == ()


# Several signatures.

TWO = root_of({"ada": ("root",), "bob": ("root",), "cy": ("root",)}, threshold=2)


def signed(root: TrustRoot, *names: str) -> list[bytes]:
    return list(seal_root(root, *names))


def test_a_draft_says_who_signed_and_who_still_can() -> None:
    root = drafts.renew(TWO, expires=LATER)
    ballot = ballots.read(TWO, signed(root, "ada"))
    assert ballot is not None
    assert ballot.signers == ("ada",)
    assert "bob or cy can" in ballot.missing
    assert [ballot.wants(public(name).keyid) for name in ("ada", "bob", "cy", "eve")] == [False, True, True, False]
    done = ballots.read(TWO, signed(root, "ada", "cy"))
    assert done is not None
    assert done.complete
    assert not done.wants(public("bob").keyid)
    assert (
        trust.load_root(
            [signed(TWO, "ada", "bob"), list(done.envelopes.values())], pin=first_digest(TWO.to_json()), now=NOW
        )
        == root
    )


def test_a_threshold_that_rises_is_met_by_the_version_before_and_by_its_own() -> None:
    one = replace(TWO, threshold=1)
    root = drafts.renew(one, expires=LATER, threshold=2)
    ballot = ballots.read(one, signed(root, "ada"))
    assert ballot is not None
    assert not ballot.complete
    assert ballot.wants(public("bob").keyid)
    assert chain((one, ("ada",)), (root, ("ada", "bob"))) == root


def test_a_root_key_that_is_rotated_signs_with_both() -> None:
    root = drafts.rotate(
        root_of({"solo": ("root",)}), "solo", public("solo").keyid, public("new"), until=1, expires=LATER
    )
    ballot = ballots.start(root_of({"solo": ("root",)}), root)
    for name in ("solo", "new"):
        assert not ballot.complete
        (data,) = signed(root, name)
        ballot = ballot.signed(Envelope.from_json(data), data)
    assert ballot.complete


def test_what_does_not_hold_is_no_draft() -> None:
    root = drafts.renew(TWO, expires=LATER)
    good = signed(root, "ada")
    forged = Envelope.from_json(good[0])
    twice = replace(forged, keyid=public("bob").keyid).to_json()
    strangers = signed(root, "eve")
    skipped = signed(replace(root, version=3), "ada")
    ballot = ballots.read(TWO, [b"junk", twice, *strangers, *skipped, *good, *good])
    assert ballot is not None
    assert ballot.signers == ("ada",)
    assert ballots.read(TWO, [b"junk", twice, *strangers, *skipped]) is None
    assert ballots.read(TWO, ()) is None


def test_two_signed_drafts_are_none() -> None:
    one, other = drafts.renew(TWO, expires=LATER), drafts.renew(TWO, expires=LATER + timedelta(days=1))
    with pytest.raises(SignatureError, match="2 signed drafts"):
        ballots.read(TWO, [*signed(one, "ada"), *signed(other, "bob")])


# Anything at all.

NAMES = ("ada", "bob", "rita", "ci", "eve")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("add", "remove", "rotate", "revoke", "renew")),
        st.sampled_from(NAMES),
        st.sampled_from((*NAMES, "k1", "k2", "k3")),
        st.lists(st.sampled_from(ROLES), max_size=2, unique=True),
        st.integers(min_value=0, max_value=30),
    ),
    max_size=8,
)


def step(root: TrustRoot, what: str, name: str, key: str, roles: list[str], at: int) -> TrustRoot:
    if what == "add":
        return drafts.add(root, name, public(key), roles, expires=LATER)
    if what == "remove":
        return drafts.remove(root, name, roles, until=at, expires=LATER)
    if what == "rotate":
        person = root.person(name)
        old = person.keys[0] if person is not None and person.keys else None
        return drafts.rotate(root, name, old, public(key), until=at, expires=LATER)
    if what == "revoke":
        return drafts.revoke(root, public(key).keyid, since=at, expires=LATER)
    return drafts.renew(root, expires=LATER, threshold=at)


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_whatever_is_drafted_is_a_chain_that_loads_or_our_own_error(
    steps: list[tuple[str, str, str, list[str], int]],
) -> None:
    root, versions = ROOT, [seal_root(ROOT, *NAMES[:4])]
    for one in steps:
        try:
            after = step(root, *one)
        except AgentPipelineError:
            continue
        everybody = {key.keyid for key in (*root.keys, *after.keys)}
        who = [name for name in (*NAMES, "k1", "k2", "k3") if public(name).keyid in everybody]
        versions.append(seal_root(after, *who))
        for keyid in {key.keyid for key in root.keys}:  # nothing that is past gains or loses a role by what ends now
            then, now = root.speaker(keyid, None), after.speaker(keyid, None)
            assert now is None or then is None or now.name == then.name
        root = after
    assert trust.load_root(versions, pin=first_digest(ROOT.to_json()), now=NOW) == root


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    ),
    st.sampled_from(("former", "people", "branch", "repository")),
)
def test_any_value_in_a_root_is_a_root_or_our_own_error(value: object, member: str) -> None:
    document = ROOT.to_dict()
    document["x-agent-pipeline"][member] = value
    with contextlib.suppress(AgentPipelineError):
        trust.check_sound(TrustRoot.from_dict(document))
