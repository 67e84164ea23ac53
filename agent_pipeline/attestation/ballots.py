"""Who has signed the next version of a trust root so far, and who still must.

A version needs the threshold of the version before it and its own (TUF 5.3.3): nobody brings himself in, and nobody is
left out by surprise. Until then it is a draft, which anybody may have written: what does not hold is left out.
"""

from __future__ import annotations

from collections.abc import Iterable

from agent_pipeline.attestation import trust
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.errors import RejectedError, SignatureError
from agent_pipeline.frozen import frozen


@frozen
class Ballot:
    """The version `root`, to follow `before`, and the envelopes that hold, by the keys that made them."""

    before: TrustRoot
    root: TrustRoot
    envelopes: dict[str, bytes]

    @property
    def signers(self) -> tuple[str, ...]:
        """The people who have signed, by the version before or by this one."""
        return tuple(sorted(_names(self, self.before) | _names(self, self.root)))

    @property
    def counts(self) -> bool:
        """Whether somebody with the role root in the version before has signed: without that anybody could draft."""
        return bool(_names(self, self.before))

    @property
    def complete(self) -> bool:
        """Whether nothing is missing any more."""
        return not self.missing

    @property
    def missing(self) -> str:
        """What is missing, in words; empty when nothing is."""
        said = []
        for judge, which in ((self.before, "in force"), (self.root, "to come")):
            have = _names(self, judge)
            if len(have) < judge.threshold:
                others = sorted(set(trust.holders(judge)) - have)
                said.append(
                    f"{len(have)} of the {judge.threshold} people with the role root in the version {which} "
                    f"have signed; {' or '.join(others)} can"
                )
        return "; ".join(said)

    def wants(self, keyid: str) -> bool:
        """Say whether a signature by the key `keyid` would bring this any further."""
        for judge in (self.before, self.root):
            owner, have = judge.owner(keyid), _names(self, judge)
            may = owner is not None and trust.ROOT in owner.roles and owner.name not in have
            if may and len(have) < judge.threshold:
                return True
        return False

    def signed(self, envelope: Envelope, data: bytes) -> Ballot:
        """Return the ballot with one more signature."""
        return Ballot(self.before, self.root, self.envelopes | {envelope.keyid: data})


def start(before: TrustRoot, root: TrustRoot) -> Ballot:
    """Return the ballot about `root`, which nobody has signed yet. Raises `SignatureError` when it cannot follow."""
    trust.check_follows(before, root)
    return Ballot(before, root, {})


def read(before: TrustRoot, data: Iterable[bytes]) -> Ballot | None:
    """Return the ballot about the version after `before` among the envelopes `data`, None when there is none.

    Only what somebody with the role root in `before` has signed is one. Raises `SignatureError` for two of them.
    """
    found: dict[bytes, Ballot] = {}
    for item in data:
        try:
            envelope = Envelope.from_json(item)
            ballot = found.get(envelope.payload) or start(before, trust.parse(envelope.payload))
            if trust.signers(before, [envelope], ballot.root) | trust.signers(ballot.root, [envelope], before):
                found[envelope.payload] = ballot.signed(envelope, item)
        except RejectedError:
            continue  # whoever may push can put it there
    mine = [ballot for ballot in found.values() if ballot.counts]
    if len(mine) > 1:
        raise SignatureError(
            f"there are {len(mine)} signed drafts of version {before.version + 1} of the trust root",
            hint="take them away with `agent-pipeline trust sign --discard`, and draft it again",
        )
    return mine[0] if mine else None


def _names(ballot: Ballot, judge: TrustRoot) -> frozenset[str]:
    owners = (judge.owner(keyid) for keyid in ballot.envelopes)
    return frozenset(owner.name for owner in owners if owner is not None and trust.ROOT in owner.roles)
