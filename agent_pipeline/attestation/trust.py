"""The trust root: reading its chain of versions, and what a version must be before anybody may rely on it.

Version 1 is pinned from outside by the digest of its payload. Every further version is signed by the threshold of the
version before and by its own: nobody brings himself in, and nobody is left out by surprise. People are counted: one
person with two keys is one, one key under two names is impossible (a key's id is made from its material).

Threats: a forged, rewound, skipped or expired root; thresholds met by one key twice (securesystemslib, python-tuf and
go-securesystemslib all allow that); keys for which anybody can sign. Source: TUF specification 1.0, 5.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from agent_pipeline.attestation import dsse, keys
from agent_pipeline.documents import moments
from agent_pipeline.documents.characters import visible
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.root import PAYLOAD_TYPE, TrustRoot, first_digest
from agent_pipeline.documents.words import counted
from agent_pipeline.errors import SchemaError, SignatureError, UnavailableError, UsageError

ROOT: Final = "root"
REVIEWER: Final = "reviewer"
MAX_VERSIONS: Final = 1000
WARNED_BEFORE: Final = timedelta(days=30)


def load_root(versions: Sequence[Sequence[bytes]], *, pin: str, now: datetime | None) -> TrustRoot:
    """Return the newest version of the trust root; `versions[i]` are all envelopes of version i + 1.

    `now` None asks not whether it has expired: one that has can still be renewed, and do nothing else. `pin` is the
    SHA-256 of the first version's payload, with or without `sha256:`. Raises `SignatureError` when any link does not
    hold, `SchemaError` for a form that is wrong, `UsageError` for a pin that is no digest, and `UnavailableError` when
    all of that holds and the newest version has expired at `now`.
    """
    match = re.fullmatch(r"(?:sha256:)?([0-9a-f]{64})", pin)
    if match is None:
        raise UsageError("the pin is not `sha256:` and 64 hexadecimal digits", hint="`agent-pipeline trust show`")
    if not versions:
        raise SignatureError("there is no trust root", hint="set the repository up with `agent-pipeline init`")
    if len(versions) > MAX_VERSIONS:
        raise SignatureError(f"the trust root has {len(versions)} versions; at most {MAX_VERSIONS} are read")
    current = None
    for number, envelopes in enumerate(versions, 1):
        current = _next(current, number, envelopes, match[1])
    assert current is not None  # noqa: S101 - there is at least one version
    if now is not None:
        check_expiry(current, now)
    return current


def _next(current: TrustRoot | None, number: int, data: Sequence[bytes], pin: str) -> TrustRoot:
    """Return version `number` once its own people and, after the first, those of `current` have signed it."""
    envelopes = [Envelope.from_json(item) for item in data]
    payloads = {envelope.payload for envelope in envelopes}
    if len(payloads) != 1:
        raise SignatureError(
            f"version {number} of the trust root has {len(payloads)} contents; exactly one may be signed"
        )
    payload = payloads.pop()
    if current is None and first_digest(payload) != pin:
        raise SignatureError(
            f"the first trust root is sha256:{first_digest(payload)}, but sha256:{pin} is pinned",
            hint="this is another repository or its history was replaced; ask somebody who knows the digest",
        )
    root = parse(payload)
    if root.version != number:
        raise SignatureError(f"version {root.version} of the trust root stands where version {number} belongs")
    _signed_by(root, root, envelopes, current)
    if current is not None:
        _signed_by(current, root, envelopes, root)
        check_follows(current, root)
    return root


def parse(payload: bytes) -> TrustRoot:
    """Read one version and check that it is sound by itself. Raises `SchemaError`, `SignatureError`."""
    root = TrustRoot.from_json(payload)
    if root.to_json() != payload:
        raise SchemaError(
            "the trust root is not in the one form that is accepted: canonical JSON, "
            "with TUF's roles held by the people who have the role root"
        )
    check_sound(root)
    return root


def check_sound(root: TrustRoot) -> None:
    """Raise `SignatureError` for a version that nobody should rely on, whoever signed it."""
    for key in root.keys:
        keys.load(key)
    owned = [keyid for person in root.people for keyid in person.keys]
    listed = [key.keyid for key in root.keys]
    if len(set(owned)) != len(owned):
        raise SignatureError("the trust root gives one key to two people")
    if sorted(owned) != sorted(listed):
        raise SignatureError("the trust root has keys without a person, or people with keys that it does not list")
    for name, bot, roles in (
        *((person.name, person.bot, person.roles) for person in root.people),
        *((grant.owner, grant.bot, grant.roles) for grant in root.former),
    ):
        if bot and {ROOT, REVIEWER} & set(roles):
            raise SignatureError(f"{name} is a bot: it cannot have the role root or reviewer")
    _check_former(root)
    if not 1 <= root.threshold <= len(holders(root)):
        raise SignatureError(
            f"the trust root wants {root.threshold} people to sign the next one, but {len(holders(root))} have the "
            "role root and a key"
        )
    moments.parse(root.expires)


def holders(root: TrustRoot) -> tuple[str, ...]:
    """Return the names of the people who can sign the next version."""
    return tuple(person.name for person in root.people if ROOT in person.roles and person.keys)


def _check_former(root: TrustRoot) -> None:
    """Every key has one owner for ever, and one that was revoked speaks for nobody again."""
    for grant in root.former:
        keys.load(grant.key)
        known = [(key.scheme, key.public, key.owner) for key in root.keys if key.keyid == grant.keyid]
        if known and grant.revoked:
            raise SignatureError(f"key {grant.keyid[:8]} of {grant.owner} was revoked, and is listed all the same")
        known += [(other.scheme, other.public, other.owner) for other in root.ended(grant.keyid)]
        if set(known) != {(grant.scheme, grant.public, grant.owner)}:
            raise SignatureError(f"key {grant.keyid[:8]} of {grant.owner} has another owner too")
        if len({other.revoked for other in root.ended(grant.keyid)}) > 1:
            raise SignatureError(f"key {grant.keyid[:8]} of {grant.owner} was revoked as a whole, or not at all")


def check_follows(before: TrustRoot, after: TrustRoot) -> None:
    """Raise `SignatureError` unless `after` can be the version after `before`, signatures apart.

    What ended stays ended, what ends is kept, and whoever a key spoke for it speaks for. Threats: a version skipped or
    repeated; a quorum, or who tricks one, that gives a thief's signatures their meaning back, takes it from what honest
    people signed, or makes one person's approval another's.
    """
    if after.version != before.version + 1:
        raise SignatureError(
            f"version {after.version} of the trust root cannot follow version {before.version}: exactly one comes next"
        )
    held = _owners(after)
    for keyid, name in _owners(before).items():
        if held.get(keyid, name) != name:
            raise SignatureError(
                f"version {after.version} of the trust root gives key {keyid[:8]} of {name} to {held[keyid]}",
                hint="every key has one owner, for ever",
            )
    for grant in before.former:
        same = [
            other
            for other in after.ended(grant.keyid)
            if set(grant.roles) <= set(other.roles) and other.until <= grant.until and other.revoked >= grant.revoked
        ]
        if not same:
            raise SignatureError(
                f"version {after.version} of the trust root takes back the end of {grant.owner}'s key {grant.keyid[:8]}"
            )
    for key in before.keys:
        person, now = before.owner(key.keyid), after.owner(key.keyid)
        kept = {*(now.roles if now else ()), *(role for grant in after.ended(key.keyid) for role in grant.roles)}
        if person is not None and not set(person.roles) <= kept:
            raise SignatureError(
                f"version {after.version} of the trust root forgets what key {key.keyid[:8]} of {key.owner} could "
                "speak for: what it signed would mean nothing any more",
                hint="a key is taken out with `agent-pipeline trust remove`, `rotate` or `revoke`",
            )


def _owners(root: TrustRoot) -> dict[str, str]:
    """Return whose each key is, or was."""
    return {grant.keyid: grant.owner for grant in root.former} | {key.keyid: key.owner for key in root.keys}


def check_expiry(root: TrustRoot, now: datetime) -> None:
    """Raise `UnavailableError` when `root` has expired at `now`.

    That is no answer about anything: whoever judged by it might have been kept from a newer one.
    """
    if now >= moments.parse(root.expires):
        raise UnavailableError(
            f"version {root.version} of the trust root of {visible(root.repository)}, {root.branch}, expired at "
            f"{root.expires}: nothing can be judged by it",
            hint=f"{' or '.join(holders(root))} can renew it: agent-pipeline trust sign --renew; until then all that "
            "was proposed waits, and none of it is refused",
        )


def expiry_warning(root: TrustRoot, now: datetime) -> str | None:
    """Return what to say when `root` expires within 30 days of `now`, else None. After that nothing works any more."""
    left = moments.parse(root.expires) - now
    if left > WARNED_BEFORE:
        return None
    days = max(left.days, 0)
    return (
        f"the trust root expires on {root.expires} ({counted(days, 'day')} left), and nothing lands after that: "
        "somebody with the role root runs `agent-pipeline trust sign --renew`"
    )


def signers(judge: TrustRoot, envelopes: Iterable[Envelope], other: TrustRoot | None = None) -> frozenset[str]:
    """Return the names of the people with role root in `judge` who signed.

    A signature that does not hold raises `SignatureError`; one by a key that only `other` knows is left to `other`.
    """
    names = set()
    for envelope in envelopes:
        key, owner = judge.key(envelope.keyid), judge.owner(envelope.keyid)
        if key is not None and owner is not None:
            dsse.check(envelope, key, PAYLOAD_TYPE)
            names |= {owner.name} if ROOT in owner.roles else set()
        elif other is None or other.key(envelope.keyid) is None:
            raise SignatureError(f"the trust root is signed by key {envelope.keyid[:8]}, which it does not know")
    return frozenset(names)


def _signed_by(judge: TrustRoot, root: TrustRoot, envelopes: Sequence[Envelope], other: TrustRoot | None) -> None:
    names = signers(judge, envelopes, other)
    if len(names) < judge.threshold:
        raise SignatureError(
            f"version {root.version} of the trust root needs {judge.threshold} of the people with role root in version "
            f"{judge.version}; {', '.join(sorted(names)) or 'nobody'} signed",
            hint="one of them signs it with `agent-pipeline trust sign`",
        )
