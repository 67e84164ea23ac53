"""Signing the next version of a trust root with whichever of one's keys bring it further."""

from __future__ import annotations

from agent_pipeline.attestation.ballots import Ballot
from agent_pipeline.config import Config
from agent_pipeline.documents.root import PAYLOAD_TYPE
from agent_pipeline.errors import RejectedError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.signing import hand as hands
from agent_pipeline.signing.hand import Hand, Unusable


def sign(config: Config, ballot: Ballot) -> Ballot:
    """Return `ballot` with the signature of every key of this person that it wants.

    A root key that is rotated signs twice: the old one for the version in force, the new one for the version to come.
    Raises `RejectedError` when none of the keys has anything to say here.
    """
    signed, payload = ballot, ballot.root.to_json()
    unusable: list[Unusable] = []
    mine = list(hands.signers(config, unusable))
    if not mine:
        raise hands.nothing(config, unusable)
    for signer in mine:
        if signed.wants(signer.public().keyid):
            envelope = signer.envelope(PAYLOAD_TYPE, payload)
            signed = signed.signed(envelope, envelope.to_json())
    if not signed.counts or (not ballot.complete and signed.envelopes.keys() == ballot.envelopes.keys()):
        keyids = {signer.public().keyid for signer in mine}
        if keyids & ballot.envelopes.keys():
            raise RejectedError(f"you have signed version {ballot.root.version} already: {ballot.missing}")
        raise RejectedError(
            f"none of your keys has the role `root` in this repository{hands.passed_over(unusable)}",
            hint="`agent-pipeline trust show` lists who has; one of them changes the trust root",
        )
    return signed


def finisher(config: Config, clone: Clone, ballot: Ballot) -> Hand:
    """Return the hand that lands a complete version: one that keeps the role root, else one that had it.

    Raises `RejectedError` when there is none.
    """
    kept = hands.find(config, clone, ballot.root, "root")
    return kept if kept is not None else hands.need(config, clone, ballot.before, "root")
