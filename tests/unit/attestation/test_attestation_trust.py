"""The trust root: its chain, its people, and every way in which it must not be believed."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.trust import BRANCH, NOW, REPOSITORY, ended, public, root_of, seal, seal_root

from agent_pipeline.attestation import drafts, keys, trust
from agent_pipeline.documents import moments, strict
from agent_pipeline.documents.root import PAYLOAD_TYPE, Key, Person, TrustRoot, first_digest
from agent_pipeline.errors import AgentPipelineError, SchemaError, SignatureError, UnavailableError, UsageError

TWO = {"ada": ("root",), "bob": ("root",), "cy": ("root",), "robot": ("ci",)}
FIRST = root_of(TWO, threshold=2)
SECOND = root_of({**TWO, "dan": ("root",)}, threshold=2, version=2)
PIN = first_digest(FIRST.to_json())


def load(*versions: Sequence[bytes], pin: str = PIN, days: int = 0) -> TrustRoot:
    return trust.load_root(versions, pin=pin, now=NOW + timedelta(days=days))


def test_a_chain_of_two() -> None:
    assert load(seal_root(FIRST, "ada", "bob")) == FIRST
    root = load(seal_root(FIRST, "ada", "bob"), seal_root(SECOND, "bob", "cy"))
    assert root == SECOND
    assert root.owner(public("dan").keyid) == root.person("dan")
    assert load(seal_root(FIRST, "ada", "bob"), pin=f"sha256:{PIN}") == FIRST


def test_no_versions() -> None:
    with pytest.raises(SignatureError, match="no trust root"):
        load()


@pytest.mark.parametrize("pin", ["", "sha256:", "f" * 63, "F" * 64, "md5:" + "f" * 64])
def test_a_pin_that_is_no_digest(pin: str) -> None:
    with pytest.raises(UsageError):
        load(seal_root(FIRST, "ada", "bob"), pin=pin)


def test_another_first_root() -> None:
    other = replace(FIRST, repository="https://git.example.org/evil/app")
    with pytest.raises(SignatureError, match="pinned"):
        load(seal_root(other, "ada", "bob"))


def test_too_few_people() -> None:
    with pytest.raises(SignatureError, match="needs 2"):
        load(seal_root(FIRST, "ada"))


def test_the_same_signature_twice() -> None:
    with pytest.raises(SignatureError, match="needs 2"):
        load(seal_root(FIRST, "ada", "ada"))


def test_people_without_the_role() -> None:
    with pytest.raises(SignatureError, match="needs 2"):
        load(seal_root(FIRST, "ada", "robot"))


def test_a_stranger_s_signature() -> None:
    with pytest.raises(SignatureError, match="does not know"):
        load(seal_root(FIRST, "ada", "bob", "eve"))


def test_a_bad_signature_beside_good_ones() -> None:
    bad = json.loads(seal(PAYLOAD_TYPE, FIRST.to_json(), "cy"))
    bad["signatures"][0]["keyid"] = public("ada").keyid
    with pytest.raises(SignatureError):
        load((*seal_root(FIRST, "ada", "bob"), json.dumps(bad).encode()))


def test_the_next_version_signed_by_the_new_people_only() -> None:
    fresh = root_of({"dan": ("root",), "eve": ("root",)}, threshold=2, version=2)
    with pytest.raises(SignatureError, match="version 1; nobody signed"):
        load(seal_root(FIRST, "ada", "bob"), seal_root(fresh, "dan", "eve"))


def test_the_next_version_signed_by_the_old_people_only() -> None:
    fresh = root_of({"dan": ("root",), "eve": ("root",)}, threshold=2, version=2)
    with pytest.raises(SignatureError, match="version 2; nobody signed"):
        load(seal_root(FIRST, "ada", "bob"), seal_root(fresh, "ada", "bob"))


def test_handing_over_needs_both() -> None:
    former = ended(FIRST, 7, "ada", "bob", "cy", "robot")
    fresh = root_of({"dan": ("root",), "eve": ("root",)}, threshold=2, version=2, former=former)
    assert load(seal_root(FIRST, "ada", "bob"), seal_root(fresh, "dan", "eve", "ada", "cy")) == fresh


def test_a_skipped_and_a_repeated_version() -> None:
    with pytest.raises(SignatureError, match="stands where"):
        load(seal_root(FIRST, "ada", "bob"), seal_root(replace(SECOND, version=3), "ada", "bob"))
    with pytest.raises(SignatureError, match="stands where"):
        load(seal_root(FIRST, "ada", "bob"), seal_root(FIRST, "ada", "bob"))


def test_a_key_never_gets_another_owner() -> None:
    """Neither one that somebody has, nor one that ended: its owner's approvals would be somebody else's."""
    swapped = root_of(TWO, threshold=2, version=2)
    bob, cy = public("bob").keyid, public("cy").keyid
    people = {"bob": (cy,), "cy": (bob,)}
    swapped = replace(
        swapped, people=tuple(replace(one, keys=people.get(one.name, one.keys)) for one in swapped.people)
    )
    with pytest.raises(SignatureError, match=r"gives key \w+ of (bob to cy|cy to bob)"):
        load(seal_root(FIRST, "ada", "bob"), seal_root(swapped, "ada", "bob"))
    ended_ = drafts.remove(FIRST, "robot", (), until=3, expires=NOW + timedelta(days=300))
    third = drafts.renew(ended_, expires=NOW + timedelta(days=301))
    other = replace(third, former=tuple(replace(grant, owner="zed") for grant in third.former))
    signed = [seal_root(FIRST, "ada", "bob"), seal_root(ended_, "ada", "bob")]
    assert load(*signed, seal_root(third, "ada", "bob")).version == 3
    with pytest.raises(SignatureError, match=r"gives key \w+ of robot to zed"):
        load(*signed, seal_root(other, "ada", "bob"))


def test_two_contents_of_one_version() -> None:
    other = replace(SECOND, repository="x")
    with pytest.raises(SignatureError, match="2 contents"):
        load(seal_root(FIRST, "ada", "bob"), (*seal_root(SECOND, "ada", "bob"), *seal_root(other, "ada", "bob")))


def test_an_empty_version() -> None:
    with pytest.raises(SignatureError, match="0 contents"):
        load(seal_root(FIRST, "ada", "bob"), ())


def test_expiry_of_the_newest_version_counts() -> None:
    with pytest.raises(UnavailableError, match=rf"version 1 .*{REPOSITORY}, {BRANCH}, expired at") as error:
        load(seal_root(FIRST, "ada", "bob"), days=300)
    assert "ada or bob or cy can renew it: agent-pipeline trust sign --renew" in str(error.value.hint)
    longer = replace(SECOND, expires=moments.write(NOW + timedelta(days=600)))
    assert load(seal_root(FIRST, "ada", "bob"), seal_root(longer, "ada", "bob"), days=300) == longer


def test_another_payload_type() -> None:
    envelopes = [seal("application/vnd.in-toto+json", FIRST.to_json(), name) for name in ("ada", "bob")]
    with pytest.raises(SignatureError):
        load(envelopes)


def test_not_canonical() -> None:
    payload = FIRST.to_json() + b" "
    with pytest.raises(SchemaError):
        trust.parse(payload)


def payload(**changes: Any) -> bytes:
    value = json.loads(FIRST.to_json())
    ours = value["x-agent-pipeline"]
    ours["people"] |= changes.pop("people", {})
    value["keys"] |= changes.pop("keys", {})
    for role in value["roles"].values():
        role.update(changes.get("role", {}))
    return strict.canonical(value)


ADA, BOB = public("ada"), public("bob")


@pytest.mark.parametrize("threshold", [0, -1, 4])
def test_a_threshold_that_cannot_be_met(threshold: int) -> None:
    with pytest.raises(AgentPipelineError):
        trust.parse(payload(role={"threshold": threshold}))


def test_tuf_s_roles_held_by_somebody_else() -> None:
    with pytest.raises(SchemaError, match="form"):
        trust.parse(payload(role={"keyids": [ADA.keyid]}))


def test_an_unknown_role() -> None:
    with pytest.raises(SchemaError):
        trust.parse(payload(people={"eve": {"keys": [], "roles": ["superuser"], "bot": False}}))


def test_one_key_of_two_people() -> None:
    with pytest.raises((SignatureError, SchemaError)):
        trust.parse(payload(people={"eve": {"keys": [ADA.keyid], "roles": ["ci"], "bot": False}}))


def test_one_key_under_two_ids() -> None:
    again = {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": ADA.public}}
    people = {"eve": {"keys": ["f" * 64], "roles": ["ci"], "bot": False}}
    with pytest.raises(SignatureError, match="not the key that its id names"):
        trust.parse(payload(keys={"f" * 64: again}, people=people))


def test_a_key_that_nobody_owns() -> None:
    eve = public("eve")
    loose = {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": eve.public}}
    with pytest.raises(SignatureError, match="without a person"):
        trust.parse(payload(keys={eve.keyid: loose}))


def test_a_small_order_key() -> None:
    raw = bytes([1]) + bytes(31)
    weak = {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": raw.hex()}}
    keyid = strict.sha256(bytes.fromhex("302a300506032b6570032100") + raw)
    people = {"eve": {"keys": [keyid], "roles": ["ci"], "bot": False}}
    with pytest.raises(SignatureError, match="small order"):
        trust.parse(payload(keys={keyid: weak}, people=people))


@pytest.mark.parametrize("role", ["root", "reviewer"])
def test_a_bot_that_reviews_or_signs_roots(role: str) -> None:
    eve = public("eve")
    with pytest.raises(SignatureError, match="bot"):
        trust.check_sound(
            replace(
                FIRST,
                keys=(*FIRST.keys, replace(eve, owner="eve")),
                people=(*FIRST.people, Person("eve", (eve.keyid,), (role,), bot=True)),
            )
        )


def test_a_moment_that_is_none() -> None:
    with pytest.raises(SchemaError, match="moment"):
        trust.check_sound(replace(FIRST, expires="2026-02-30T00:00:00Z"))


# Drafts.


def test_the_first_root_of_one_person() -> None:
    root = drafts.first(REPOSITORY, BRANCH, "solo", public("solo"), expires=NOW + timedelta(days=365))
    person = root.person("solo")
    assert person is not None
    assert "reviewer" not in person.roles
    assert {"root", "requester", "runner", "ci", "merger"} <= set(person.roles)
    assert load(seal_root(root, "solo"), pin=first_digest(root.to_json())) == root


def test_adding_people_makes_the_next_version() -> None:
    first = drafts.first(REPOSITORY, BRANCH, "solo", public("solo"), expires=NOW + timedelta(days=365))
    second = drafts.add(first, "rita", public("rita"), ["reviewer"], expires=NOW + timedelta(days=365))
    third = drafts.add(second, "rita", None, ["requester"], expires=NOW + timedelta(days=365))
    rita = third.person("rita")
    assert rita is not None
    assert (third.version, rita.roles) == (3, ("requester", "reviewer"))
    chain = [seal_root(root, "solo") for root in (first, second, third)]
    assert load(*chain, pin=first_digest(first.to_json())) == third


@pytest.mark.parametrize(
    ("name", "key", "roles"),
    [
        ("rita", public("rita"), ["superuser"]),
        ("rita", public("ada"), ["reviewer"]),
        ("nobody", None, ["reviewer"]),
        ("ada", public("ada"), ["root"]),
    ],
    ids=["unknown role", "another's key", "no key", "nothing new"],
)
def test_drafts_that_make_no_sense(name: str, key: Key | None, roles: list[str]) -> None:
    with pytest.raises(UsageError):
        drafts.add(FIRST, name, key, roles, expires=NOW + timedelta(days=365))


def test_a_weak_key_is_refused_when_it_is_added() -> None:
    raw = bytes([1]) + bytes(31)
    weak = Key(strict.sha256(bytes.fromhex("302a300506032b6570032100") + raw), keys.ED25519, raw.hex(), "")
    with pytest.raises(SignatureError, match="small order"):
        drafts.add(FIRST, "eve", weak, ["ci"], expires=NOW + timedelta(days=365))


# Whatever comes in.


@given(st.binary(max_size=200))
def test_any_bytes_are_a_root_or_our_own_error(data: bytes) -> None:
    with pytest.raises(AgentPipelineError):
        trust.parse(data)
    with pytest.raises(AgentPipelineError):
        load((data,))


VALUES = (
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=10) | st.lists(st.text(max_size=5), max_size=2)
)


@given(st.data())
def test_a_root_with_anything_in_one_place_is_sound_or_our_own_error(data: st.DataObject) -> None:
    value = json.loads(FIRST.to_json())
    at: Any = value
    while True:
        name = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else list(range(len(at)))))
        if not isinstance(at[name], dict | list) or not at[name] or data.draw(st.booleans()):
            at[name] = data.draw(VALUES)
            break
        at = at[name]
    sealed = tuple(seal(PAYLOAD_TYPE, json.dumps(value).encode(), who) for who in ("ada", "bob"))
    with contextlib.suppress(AgentPipelineError):
        trust.parse(strict.canonical(value))
    with pytest.raises(AgentPipelineError):
        load(sealed)


@given(st.integers(min_value=0))
def test_one_changed_byte_in_the_signed_root(position: int) -> None:
    data = bytearray(FIRST.to_json())
    data[position % len(data)] ^= 1
    good = [json.loads(envelope) for envelope in seal_root(FIRST, "ada", "bob")]
    for envelope in good:
        envelope["payload"] = base64.b64encode(bytes(data)).decode()
    with pytest.raises(AgentPipelineError):
        trust.load_root([[json.dumps(e).encode() for e in good]], pin=strict.sha256(bytes(data)), now=NOW)
