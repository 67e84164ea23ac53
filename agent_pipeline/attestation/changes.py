"""What changes from one version of the trust root to the next, for people to compare before they sign."""

from __future__ import annotations

from agent_pipeline.attestation import keys
from agent_pipeline.documents.root import Former, Key, Person, TrustRoot
from agent_pipeline.frozen import frozen


@frozen
class Difference:
    """One thing that is other than before: `what` it is, and its `before` and `after` (empty: not there)."""

    what: str
    before: str
    after: str


def differences(before: TrustRoot, after: TrustRoot) -> tuple[Difference, ...]:
    """Return everything in which `after` is other than `before`; every member of the document is looked at.

    Keys are shown by the fingerprint that `ssh-keygen -l` prints, since that is what people compare.
    """
    found = [
        Difference("version", str(before.version), str(after.version)),
        Difference("expires", before.expires, after.expires),
        Difference("threshold", str(before.threshold), str(after.threshold)),
        Difference("repository", before.repository, after.repository),
        Difference("branch", before.branch, after.branch),
    ]
    names = sorted({person.name for person in (*before.people, *after.people)})
    found += [Difference(name, _person(before.person(name)), _person(after.person(name))) for name in names]
    keyids = sorted({key.keyid for key in (*before.keys, *after.keys)})
    found += [Difference("key", _key(before.key(keyid)), _key(after.key(keyid))) for keyid in keyids]
    grants = sorted({*before.former, *after.former}, key=lambda one: (one.owner, one.keyid, one.until, one.roles))
    found += [
        Difference("ended", *(_former(grant) if grant in root.former else "" for root in (before, after)))
        for grant in grants
    ]
    return tuple(one for one in found if one.before != one.after)


def _person(person: Person | None) -> str:
    if person is None:
        return ""
    roles = ", ".join(person.roles) or "no roles"
    return f"{roles}{' (bot)' if person.bot else ''}{'' if person.keys else ' (no key)'}"


def _key(key: Key | None) -> str:
    return f"{key.owner}: {keys.fingerprint(key)}" if key is not None else ""


def _former(grant: Former) -> str:
    word = "revoked, counts" if grant.revoked else "counts"
    return f"{grant.owner}: {keys.fingerprint(grant.key)} as {', '.join(grant.roles)} {word} below entry {grant.until}"
