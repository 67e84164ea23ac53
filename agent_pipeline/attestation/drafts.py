"""Drafting the versions of a trust root. A draft is data; only signatures by the right people make it one.

Every version after the first keeps what ended: a grant that is taken away becomes one that counts for the log below
`until`. A draft that would lock everybody out is refused here, with the reason.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from agent_pipeline.attestation import trust
from agent_pipeline.documents import moments
from agent_pipeline.documents.root import ROLES, Former, Key, Person, TrustRoot
from agent_pipeline.errors import SignatureError, UsageError

# One person alone has every role but this one: nobody reviews what he asked for.
ALONE: Final = tuple(role for role in ROLES if role != trust.REVIEWER)


def first(repository: str, branch: str, name: str, key: Key, *, expires: datetime) -> TrustRoot:
    """Return the first root, of one person with every role except reviewer. Raises `SignatureError`, `SchemaError`."""
    owned = dataclasses.replace(key, owner=name)
    root = TrustRoot(
        version=1,
        expires=moments.write(expires),
        repository=repository,
        branch=branch,
        threshold=1,
        keys=(owned,),
        people=(Person(name, (key.keyid,), ALONE),),
    )
    return _checked(root)


def add(
    root: TrustRoot, name: str, key: Key | None, roles: Sequence[str], *, expires: datetime, bot: bool = False
) -> TrustRoot:
    """Return the next version, in which the person `name` has `key` and `roles` beside what he had.

    Raises `UsageError` when that changes nothing, names an unknown role, takes another person's key, or one revoked,
    `SignatureError` for a bot that would review or be root.
    """
    check_roles(roles)
    before = root.person(name) or Person(name, (), (), bot)
    if key is not None:
        _check_new(root, name, key)
    keyids = dict.fromkeys((*before.keys, *((key.keyid,) if key is not None else ())))
    after = Person(
        name, tuple(keyids), tuple(role for role in ROLES if role in {*before.roles, *roles}), before.bot or bot
    )
    if after.bot and {trust.ROOT, trust.REVIEWER} & set(after.roles):
        raise SignatureError(
            f"{name} is a bot: a bot does not review, and is never root",
            hint="give that role to a person; --bot is for a machine that nobody answers for",
        )
    if not after.keys:
        raise UsageError(f"{name} has no key yet", hint="`agent-pipeline join` offers one; then add it")
    if after == before:
        raise UsageError(f"{name} already has that key and these roles", hint="`agent-pipeline trust show`")
    return _next(root, _with_key(root, name, key), _with_person(root, after), (), expires)


def remove(root: TrustRoot, name: str, roles: Sequence[str], *, until: int, expires: datetime) -> TrustRoot:
    """Return the next version, in which `name` no longer has `roles`, or is not in it any more (no roles given).

    What his keys signed below the log's index `until` goes on to count. Raises `UsageError` when that changes nothing.
    """
    check_roles(roles)
    before = _need(root, name)
    lost = [role for role in before.roles if role in roles or not roles]
    if roles and len(lost) < len(set(roles)):
        missing = ", ".join(role for role in roles if role not in lost)
        raise UsageError(f"{name} does not have the role {missing}", hint="`agent-pipeline trust show`")
    ended = [_former(root, keyid, before, lost, until) for keyid in before.keys] if lost else []
    kept = dataclasses.replace(before, roles=tuple(role for role in before.roles if role not in lost))
    if roles and kept.roles:
        return _next(root, root.keys, _with_person(root, kept), ended, expires)
    listed = [key for key in root.keys if key.keyid not in before.keys]
    return _next(root, listed, [person for person in root.people if person.name != name], ended, expires)


def rotate(root: TrustRoot, name: str, old: str | None, key: Key, *, until: int, expires: datetime) -> TrustRoot:
    """Return the next version, in which `name` has `key` in place of the key `old` (None: has no key yet).

    What `old` signed below the log's index `until` goes on to count. Raises `UsageError`.
    """
    before = _need(root, name)
    _check_new(root, name, key)
    if key.keyid in before.keys:
        raise UsageError(f"{name} has that key already", hint=f"{name} offers a new one with `agent-pipeline join`")
    if old is not None and old not in before.keys:
        raise UsageError(f"key {old[:8]} is not {name}'s", hint="`agent-pipeline trust show` lists the keys")
    after = dataclasses.replace(before, keys=(*(keyid for keyid in before.keys if keyid != old), key.keyid))
    ended = [_former(root, old, before, before.roles, until)] if old is not None and before.roles else []
    listed = [known for known in _with_key(root, name, key) if known.keyid != old]
    return _next(root, listed, _with_person(root, after), ended, expires)


def revoke(root: TrustRoot, keyid: str, *, since: int, expires: datetime) -> TrustRoot:
    """Return the next version, in which the key `keyid` counts for nothing that the log has from `since` on.

    Its owner keeps name and roles, for a new key. A key that ended before can be revoked too. Raises `UsageError` when
    the key is unknown, or when it counts for nothing from `since` on already.
    """
    key, owner = root.known(keyid), root.owner(keyid)
    if key is None:
        raise UsageError(f"no key here is called {keyid[:16]}", hint="`agent-pipeline trust show` lists the keys")
    had = [*root.ended(keyid), *([_former(root, keyid, owner, owner.roles, since)] if owner is not None else [])]
    ended = [dataclasses.replace(grant, until=min(grant.until, since), revoked=True) for grant in had]
    if owner is None and tuple(ended) == root.ended(keyid):
        raise UsageError(
            f"key {keyid[:8]} is revoked already, from entry {max(grant.until for grant in had)} of the log on",
            hint="give an earlier --since to void more of what it signed",
        )
    others = dataclasses.replace(root, former=tuple(grant for grant in root.former if grant.keyid != keyid))
    listed = [known for known in root.keys if known.keyid != keyid]
    people = [
        dataclasses.replace(person, keys=tuple(one for one in person.keys if one != keyid)) for person in root.people
    ]
    return _next(others, listed, people, ended, expires)


def renew(root: TrustRoot, *, expires: datetime, threshold: int | None = None) -> TrustRoot:
    """Return the next version, in which only the expiry has moved, and `threshold` where it is given."""
    wanted = root.threshold if threshold is None else threshold
    return _next(dataclasses.replace(root, threshold=wanted), root.keys, root.people, (), expires)


def check_roles(roles: Sequence[str]) -> None:
    """Raise `UsageError` for a role that there is not."""
    unknown = sorted(set(roles) - set(ROLES))
    if unknown:
        raise UsageError(f"there is no role {unknown[0]!r}", hint=f"roles are {', '.join(ROLES)}")


def _need(root: TrustRoot, name: str) -> Person:
    person = root.person(name)
    if person is None:
        raise UsageError(f"{name} is not in the trust root", hint="`agent-pipeline trust show` lists who is")
    return person


def _check_new(root: TrustRoot, name: str, key: Key) -> None:
    """Raise `UsageError` for a key that is, or was, somebody else's, or that was revoked."""
    owner, ended = root.owner(key.keyid), root.ended(key.keyid)
    if any(grant.revoked for grant in ended):
        raise UsageError(
            f"key {key.keyid[:8]} was revoked and never comes back",
            hint=f"{name} makes a new one with `agent-pipeline keys generate` and offers it with `agent-pipeline join`",
        )
    holder = owner.name if owner is not None else ended[0].owner if ended else name
    if holder != name:
        raise UsageError(f"key {key.keyid[:8]} is {holder}'s", hint="every key has one owner, for ever")


def _former(root: TrustRoot, keyid: str, owner: Person, roles: Iterable[str], until: int) -> Former:
    key = root.key(keyid)
    assert key is not None  # noqa: S101 - a sound root lists the keys that people have
    return Former(keyid, key.scheme, key.public, owner.name, tuple(roles), owner.bot, until, revoked=False)


def _with_key(root: TrustRoot, name: str, key: Key | None) -> Iterable[Key]:
    listed = {known.keyid: known for known in root.keys}
    if key is not None:
        listed[key.keyid] = dataclasses.replace(key, owner=name)
    return listed.values()


def _with_person(root: TrustRoot, after: Person) -> Iterable[Person]:
    return ({person.name: person for person in root.people} | {after.name: after}).values()


def _next(
    root: TrustRoot, keys: Iterable[Key], people: Iterable[Person], ended: Iterable[Former], expires: datetime
) -> TrustRoot:
    draft = dataclasses.replace(
        root,
        version=root.version + 1,
        expires=moments.write(expires),
        keys=tuple(sorted(keys, key=lambda key: key.keyid)),
        people=tuple(sorted(people, key=lambda person: person.name)),
        former=tuple(dict.fromkeys((*root.former, *ended))),
    )
    holders = trust.holders(draft)
    if len(holders) < draft.threshold:
        raise SignatureError(
            f"nobody could ever change this trust root again: it would want {draft.threshold} with the role "
            f"root and a key, and has {len(holders)} ({', '.join(holders) or 'nobody'})",
            hint="replace the key first (`agent-pipeline trust rotate NAME`), give somebody else the role root "
            "(`agent-pipeline trust add NAME --role root`), or lower the threshold (`agent-pipeline trust sign --renew "
            "--threshold N`)",
        )
    return _checked(draft)


def _checked(root: TrustRoot) -> TrustRoot:
    """Return `root` as its own reader would read it, or say now what the reader would refuse later."""
    return trust.parse(root.to_json())
