"""python-tuf follows our trust root as a TUF root, from version to version, and stops where we stop."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from securesystemslib.signer import CryptoSigner, SSlibKey
from support.interop import P256, SCHEMES, Pair, pair
from support.trust import NOW, REPOSITORY, root_of, seal_root
from tuf.api.dsse import SimpleEnvelope
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Key as PeerKey
from tuf.api.metadata import Role, Root
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from agent_pipeline.attestation import trust
from agent_pipeline.documents import strict
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.root import PAYLOAD_TYPE, Person, TrustRoot, first_digest
from agent_pipeline.errors import SchemaError, SignatureError, UnavailableError

TEAM = {"ada": ("root", "requester"), "bo": ("root", "ci"), "cy": ("reviewer",)}
FIRST = root_of(TEAM, threshold=2)


def merged(envelopes: tuple[bytes, ...]) -> bytes:
    """Ours are one signature each; TUF wants all of a version's in one envelope. DSSE says the two are equivalent."""
    values = [json.loads(data) for data in envelopes]
    return json.dumps(values[0] | {"signatures": [one for value in values for one in value["signatures"]]}).encode()


def theirs_says(versions: list[tuple[bytes, ...]]) -> int | str:
    """The newest version by python-tuf's client, or the class of its error."""
    try:
        trusted = TrustedMetadataSet(merged(versions[0]), EnvelopeType.SIMPLE)
        for envelopes in versions[1:]:
            trusted.update_root(merged(envelopes))
    except RepositoryError as error:
        return type(error).__name__
    else:
        return trusted.root.version


def ours_says(versions: list[tuple[bytes, ...]]) -> int | str:
    pin = first_digest(Envelope.from_json(versions[0][0]).payload)
    try:
        return trust.load_root(versions, pin=pin, now=NOW).version
    except (SignatureError, SchemaError, UnavailableError) as error:
        return type(error).__name__


def following(root: TrustRoot, people: dict[str, tuple[str, ...]] | None = None, **fields: object) -> TrustRoot:
    made = root_of(people or TEAM, threshold=root.threshold)
    return replace(made, version=root.version + 1, **fields)  # type: ignore[arg-type]


SECOND = following(FIRST, TEAM | {"cy": ("root", "reviewer")})


def test_both_follow_a_rotation() -> None:
    versions = [seal_root(FIRST, "ada", "bo"), seal_root(SECOND, "ada", "bo", "cy")]
    assert theirs_says(versions) == ours_says(versions) == 2


@pytest.mark.parametrize(
    "versions",
    [
        [seal_root(FIRST, "ada")],
        [seal_root(FIRST, "ada", "bo"), seal_root(SECOND, "ada", "cy")],
        [seal_root(FIRST, "ada", "bo"), seal_root(replace(SECOND, threshold=3), "ada", "bo")],
        [seal_root(FIRST, "ada", "bo"), seal_root(replace(SECOND, version=3), "ada", "bo", "cy")],
        [seal_root(FIRST, "ada", "bo"), seal_root(FIRST, "ada", "bo")],
    ],
    ids=["one of two", "not by the old threshold", "not by the new threshold", "a version skipped", "the same again"],
)
def test_both_stop(versions: list[tuple[bytes, ...]]) -> None:
    assert isinstance(theirs_says(versions), str)
    assert isinstance(ours_says(versions), str)


def test_what_is_ours_travels_through_theirs() -> None:
    signed = SimpleEnvelope[Root].from_bytes(merged(seal_root(FIRST, "ada", "bo"))).get_signed()
    assert signed.unrecognized_fields["x-agent-pipeline"]["repository"] == REPOSITORY
    assert strict.canonical(signed.to_dict()) == FIRST.to_json()
    assert signed.roles["root"].threshold == 2
    assert sorted(signed.roles["root"].keyids) == sorted(
        keyid for person in FIRST.people if "root" in person.roles for keyid in person.keys
    )


def peer_key(mine: Pair) -> PeerKey:
    return SSlibKey.from_crypto(mine.private.public_key(), keyid=mine.public.keyid)


def made_by_theirs(pairs: list[Pair], expires: datetime) -> Root:
    """A root as python-tuf makes it, with our member beside."""
    root = Root(version=1, expires=expires, consistent_snapshot=False, spec_version="1.0.31")
    for mine in pairs:
        for role in ("root", "timestamp", "snapshot", "targets"):
            root.add_key(peer_key(mine), role)
    people = {mine.public.owner: {"keys": [mine.public.keyid], "roles": ["root"], "bot": False} for mine in pairs}
    root.unrecognized_fields["x-agent-pipeline"] = {
        "repository": REPOSITORY,
        "branch": "refs/heads/main",
        "people": people,
        "former": [],
    }
    return root


@pytest.mark.parametrize("scheme", SCHEMES)
def test_ours_takes_a_root_that_theirs_made_and_signed(scheme: str) -> None:
    mine = pair(scheme)
    root = made_by_theirs([mine], datetime(2026, 12, 1, tzinfo=UTC))
    envelope = SimpleEnvelope[Root](strict.canonical(root.to_dict()), PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(mine.private, peer_key(mine)))
    data = envelope.to_bytes()
    loaded = trust.load_root([[data]], pin=first_digest(envelope.payload), now=NOW)
    assert [person.name for person in loaded.people] == ["ada"]
    assert TrustedMetadataSet(data, EnvelopeType.SIMPLE).root.version == 1
    as_they_write_it = SimpleEnvelope[Root].from_signed(root)  # json.dumps: spaces, and their order of members
    as_they_write_it.sign(CryptoSigner(mine.private, peer_key(mine)))
    with pytest.raises(SchemaError, match="canonical"):
        trust.load_root([[as_they_write_it.to_bytes()]], pin=first_digest(as_they_write_it.payload), now=NOW)


def test_one_key_under_two_names_is_two_keys_to_theirs_and_refused_by_ours() -> None:
    mine = pair(P256)
    root = made_by_theirs([mine], datetime(2026, 12, 1, tzinfo=UTC))
    twin = SSlibKey.from_crypto(mine.private.public_key(), keyid="f" * 64)
    for role in ("root", "timestamp", "snapshot", "targets"):
        root.add_key(twin, role)
        root.roles[role] = Role(root.roles[role].keyids, 2)
    ours = root.unrecognized_fields["x-agent-pipeline"]
    ours["people"]["bo"] = {"keys": [twin.keyid], "roles": ["root"], "bot": False}
    envelope = SimpleEnvelope[Root](strict.canonical(root.to_dict()), PAYLOAD_TYPE, {})
    for key in (peer_key(mine), twin):
        envelope.signatures[key.keyid] = CryptoSigner(mine.private, key).sign(envelope.pae())
    root.verify_delegate("root", envelope.pae(), envelope.signatures)  # one key has met a threshold of two
    value = json.loads(envelope.to_bytes())
    single = [json.dumps(value | {"signatures": [one]}).encode() for one in value["signatures"]]
    with pytest.raises(SignatureError, match="not the key that its id names"):
        trust.load_root([single], pin=first_digest(envelope.payload), now=NOW)


def test_one_person_with_two_keys_meets_theirs_and_not_ours() -> None:
    """TUF counts keys; we count people. Such a root has a threshold that one person could meet alone."""
    two = replace(
        root_of({"ada": ("root",), "bo": ("root",)}, threshold=2),
        people=(
            Person("ada", tuple(sorted(key.keyid for key in FIRST.keys if key.owner in ("ada", "bo"))), ("root",)),
        ),
    )
    two = replace(two, keys=tuple(replace(key, owner="ada") for key in two.keys))
    versions = [seal_root(two, "ada", "bo")]
    assert theirs_says(versions) == 1
    assert ours_says(versions) == "SignatureError"


def test_expiry_is_asked_for_by_both() -> None:
    old = replace(FIRST, expires="2020-01-01T00:00:00Z")
    assert ours_says([seal_root(old, "ada", "bo")]) == "UnavailableError"
    theirs = SimpleEnvelope[Root].from_bytes(merged(seal_root(old, "ada", "bo"))).get_signed()
    assert theirs.is_expired(NOW.replace(tzinfo=UTC))
