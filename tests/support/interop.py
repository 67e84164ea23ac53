"""Every statement that we sign, in envelopes by both schemes: what the verifiers of others are asked about."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from support.trust import BASE, NOW, REPOSITORY, TEAM, Maker, private, public, root_of

from agent_pipeline.attestation import dsse, keys
from agent_pipeline.documents import levels, moments, offer
from agent_pipeline.documents.closure import Closure
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.offer import Offer
from agent_pipeline.documents.root import PAYLOAD_TYPE as ROOT_TYPE
from agent_pipeline.documents.root import Key, TrustRoot
from agent_pipeline.documents.statement import PAYLOAD_TYPE, Statement
from agent_pipeline.documents.summary import MERGER_ID, Summary

ED25519, P256 = "ed25519", "p256"
SCHEMES = (ED25519, P256)
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def both_forms(signature: bytes) -> tuple[bytes, bytes]:
    """A signature on P-256 with the smaller s, which is its one form, and its twin, which anybody can make of it."""
    r, s = decode_dss_signature(signature)
    low, high = sorted((s, P256_ORDER - s))
    return encode_dss_signature(r, low), encode_dss_signature(r, high)


def with_key(root: TrustRoot, name: str, key: Key) -> TrustRoot:
    """The trust root in which `name` has `key`, and no other."""
    people = tuple(replace(one, keys=(key.keyid,)) if one.name == name else one for one in root.people)
    others = [one for one in root.keys if one.owner != name]
    return replace(
        root, keys=tuple(sorted((*others, replace(key, owner=name)), key=lambda one: one.keyid)), people=people
    )


def private_p256(name: str) -> ec.EllipticCurvePrivateKey:
    """The fixed P-256 key called `name`."""
    return ec.derive_private_key(int.from_bytes(hashlib.sha256(name.encode()).digest()[:31], "big"), ec.SECP256R1())


@dataclass(frozen=True, slots=True)
class Pair:
    """A private key of either scheme, and its public half as the trust root has it."""

    private: Any
    public: Key

    def sign(self, message: bytes) -> bytes:
        """Sign as the scheme wants it; P-256 with a nonce that makes the bytes the same each time (RFC 6979)."""
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            return self.private.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        signature: bytes = self.private.sign(message)
        return signature

    def seal(self, payload_type: str, payload: bytes) -> bytes:
        """The payload in our envelope."""
        signature = self.sign(dsse.pae(payload_type, payload))
        return Envelope(payload_type, payload, self.public.keyid, signature).to_json()


def pair(scheme: str, name: str = "ada") -> Pair:
    """The fixed pair of a scheme."""
    key = private(name) if scheme == ED25519 else private_p256(name)
    return Pair(key, keys.key_from_public(key.public_key(), name))


def _merge(maker: Maker) -> Statement:
    admitted = Summary.from_statement(_inside(maker.summary()))
    made = replace(admitted, verifier=MERGER_ID, levels=(levels.level("signed"),), merged_on=BASE)
    return made.to_statement(maker.proposal().digest())


def _inside(envelope: bytes) -> Statement:
    return Statement.from_json(Envelope.from_json(envelope).payload)


def statements() -> dict[str, bytes]:
    """The canonical bytes of one statement of every kind, by kind; of the provenance one for each engine."""
    maker = Maker()
    closed = Closure(1, maker.request().id, "ada", moments.write(NOW), "not needed any more")
    offered = Offer(offer.VERSION, REPOSITORY, "rosa", keys.openssh_from_key(public("rosa")), moments.write(NOW))
    found = {
        "request": _inside(maker.request_envelope()),
        "test-result": _inside(maker.test_result()),
        "summary": _inside(maker.summary()),
        "merge": _merge(maker),
        "approval": _inside(maker.approval("rita")),
        "rejection": _inside(maker.approval("rita", "rejected", reason="it is \u00fcberfl\u00fcssig \U0001f600")),
        "closure": closed.to_statement(),
        "log-entry": _inside(maker.entry((), "admitted", [maker.summary()])),
        "offer": offered.to_statement(),
    }
    found |= {f"provenance-{engine}": Maker(engine=engine).statement() for engine in ("claude", "command", "recorded")}
    return {name: statement.to_json() for name, statement in found.items()}


STATEMENTS = statements()
ROOT = root_of(TEAM, bots=("robot",)).to_json()
PAYLOADS = {name: (PAYLOAD_TYPE, payload) for name, payload in STATEMENTS.items()} | {"root": (ROOT_TYPE, ROOT)}
assert REPOSITORY.encode() in ROOT
