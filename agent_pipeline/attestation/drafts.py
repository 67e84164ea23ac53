"""Drafting the versions of a trust root. A draft is data; only signatures by the right people make it one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from agent_pipeline.attestation import trust
from agent_pipeline.documents import moments
from agent_pipeline.documents.root import ROLES, Key, Person, TrustRoot
from agent_pipeline.errors import UsageError

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

    Raises `UsageError` when that changes nothing, names an unknown role or takes another person's key.
    """
    unknown = sorted(set(roles) - set(ROLES))
    if unknown:
        raise UsageError(f"there is no role {unknown[0]!r}", hint=f"roles are {', '.join(ROLES)}")
    before = root.person(name) or Person(name, (), (), bot)
    if key is not None and (owner := root.owner(key.keyid)) is not None and owner.name != name:
        raise UsageError(f"key {key.keyid[:8]} is {owner.name}'s", hint="every key has one owner")
    keyids = dict.fromkeys((*before.keys, *((key.keyid,) if key is not None else ())))
    after = Person(
        name, tuple(keyids), tuple(role for role in ROLES if role in {*before.roles, *roles}), before.bot or bot
    )
    if not after.keys:
        raise UsageError(f"{name} has no key yet", hint="`agent-pipeline join` offers one; then add it")
    if after == before:
        raise UsageError(f"{name} already has that key and these roles", hint="`agent-pipeline trust show`")
    people = {person.name: person for person in root.people} | {name: after}
    listed = {known.keyid: known for known in root.keys}
    if key is not None:
        listed[key.keyid] = dataclasses.replace(key, owner=name)
    return _checked(_successor(root, listed.values(), people.values(), root.threshold, expires))


def _successor(
    root: TrustRoot, keys: Iterable[Key], people: Iterable[Person], threshold: int, expires: datetime
) -> TrustRoot:
    return dataclasses.replace(
        root,
        version=root.version + 1,
        expires=moments.write(expires),
        threshold=threshold,
        keys=tuple(sorted(keys, key=lambda key: key.keyid)),
        people=tuple(sorted(people, key=lambda person: person.name)),
    )


def _checked(root: TrustRoot) -> TrustRoot:
    """Return `root` as its own reader would read it, or say now what the reader would refuse later."""
    return trust.parse(root.to_json())
