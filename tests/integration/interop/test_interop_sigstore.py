"""sigstore-python and we, on P-256, which is the only scheme that it reads in an envelope.

Its public verifier wants a certificate and a log's entry, which a team with keys of its own has not; what is asked here
is the part of it that reads envelopes and statements.
"""

from __future__ import annotations

import json

import pytest
from sigstore import dsse as sigstore
from sigstore.errors import Error, VerificationError
from sigstore.hashes import Hashed
from sigstore_models.common.v1 import HashAlgorithm
from support.interop import ED25519, P256, STATEMENTS, pair

from agent_pipeline.attestation import dsse
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.statement import PAYLOAD_TYPE, Statement
from agent_pipeline.errors import SchemaError


@pytest.mark.parametrize("kind", STATEMENTS)
def test_theirs_takes_ours(kind: str) -> None:
    mine = pair(P256)
    envelope = sigstore.Envelope._from_json(mine.seal(PAYLOAD_TYPE, STATEMENTS[kind]))
    assert sigstore._verify(mine.private.public_key(), envelope) == STATEMENTS[kind]
    with pytest.raises(VerificationError):
        sigstore._verify(pair(P256, "rita").private.public_key(), envelope)


@pytest.mark.parametrize("kind", STATEMENTS)
def test_theirs_finds_the_same_subject(kind: str) -> None:
    subject = Statement.from_json(STATEMENTS[kind]).sha256
    theirs = sigstore.Statement(STATEMENTS[kind])
    assert theirs._matches_digest(Hashed(algorithm=HashAlgorithm.SHA2_256, digest=bytes.fromhex(subject)))
    assert not theirs._matches_digest(Hashed(algorithm=HashAlgorithm.SHA2_256, digest=bytes(32)))


@pytest.mark.parametrize("kind", STATEMENTS)
def test_ours_takes_theirs_once_it_names_its_key(kind: str) -> None:
    mine = pair(P256)
    value = json.loads(sigstore._sign(mine.private, sigstore.Statement(STATEMENTS[kind])).to_json())
    with pytest.raises(SchemaError):  # a key id is optional in DSSE; ours is how a key of the trust root is found
        Envelope.from_json(json.dumps(value).encode())
    value["signatures"][0]["keyid"] = mine.public.keyid
    read = Envelope.from_json(json.dumps(value).encode())
    assert Statement.from_json(dsse.check(read, mine.public, PAYLOAD_TYPE)).to_json() == STATEMENTS[kind]


def test_ed25519_is_ours_alone() -> None:
    mine = pair(ED25519)
    envelope = sigstore.Envelope._from_json(mine.seal(PAYLOAD_TYPE, STATEMENTS["approval"]))
    with pytest.raises((TypeError, Error)):
        sigstore._verify(mine.private.public_key(), envelope)


def test_both_want_exactly_one_signature() -> None:
    value = json.loads(pair(P256).seal(PAYLOAD_TYPE, STATEMENTS["approval"]))
    value["signatures"] *= 2
    with pytest.raises(SchemaError):
        Envelope.from_json(json.dumps(value).encode())
    with pytest.raises(Error, match="exactly one signature"):
        sigstore.Envelope._from_json(json.dumps(value))


@pytest.mark.parametrize("digest", [{"gitTree": "a" * 40}, {"gitCommit": "a" * 40}])
def test_neither_takes_a_git_id_for_a_subject(digest: dict[str, str]) -> None:
    value = json.loads(STATEMENTS["approval"])
    value["subject"][0]["digest"] = digest
    data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(SchemaError):
        Statement.from_json(data)
    with pytest.raises(Error):
        sigstore.Statement(data)
