"""The hand that signs: which of a person's keys may speak in a role, by the trust root in force."""

from __future__ import annotations

import os
from dataclasses import dataclass

from agent_pipeline.config import Config
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.errors import RejectedError, UsageError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.signing.client import Signer


@dataclass(frozen=True, slots=True)
class Hand:
    """A signer with the person it speaks for, and the name and address that stand in commits."""

    signer: Signer
    person: str
    roles: tuple[str, ...]
    name: str
    email: str


def key_sources(config: Config) -> tuple[str, ...]:
    """Return what a `Signer` can be made of: `AGENT_PIPELINE_KEY` alone if it is set, else the key folder's files."""
    if config.key is not None:
        return (config.key,)
    if not config.keys.is_dir():
        return ()
    return tuple(str(path) for path in sorted(config.keys.iterdir()) if path.is_file() and path.suffix != ".pub")


def find(config: Config, clone: Clone, root: TrustRoot, role: str) -> Hand | None:
    """Return this person's hand in `role`, or None when no key here has it. Raises `UsageError` without keys."""
    sources = key_sources(config)
    if not sources:
        raise UsageError(
            f"there is no key in {config.keys}",
            hint="make one with `agent-pipeline keys generate`, then offer it with `agent-pipeline join`",
        )
    for source in sources:
        signer = Signer(source)
        person = root.owner(signer.public().keyid)
        if person is not None and role in person.roles:
            name, email = _author(clone, person.name)
            return Hand(signer, person.name, person.roles, name, email)
    return None


def need(config: Config, clone: Clone, root: TrustRoot, role: str) -> Hand:
    """Return this person's hand in `role`. Raises `RejectedError` when the trust root gives no key here that role."""
    hand = find(config, clone, root, role)
    if hand is None:
        raise RejectedError(
            _ended(config, root, role) or f"none of your keys has the role `{role}` in this repository",
            hint="`agent-pipeline trust show` lists who has; `agent-pipeline join` offers your key",
        )
    return hand


def _ended(config: Config, root: TrustRoot, role: str) -> str | None:
    """Say that a key here had the role once, None when none had."""
    for source in key_sources(config):
        for grant in root.ended(Signer(source).public().keyid):
            if role in grant.roles:
                end = "was revoked" if grant.revoked else "ended"
                return f"your key {grant.keyid[:8]} {end}: as `{role}` it counts below entry {grant.until} of the log"
    return None


def falls_to(config: Config, clone: Clone, root: TrustRoot, role: str) -> bool:
    """Return whether a step of `role` falls to this person unasked: it has the role, and nobody else does.

    Where somebody else has it too, the step is left to them: whoever asks for a change should not also vouch for it.
    """
    hand = find(config, clone, root, role)
    others = [person for person in root.people if role in person.roles and hand and person.name != hand.person]
    return hand is not None and not others


def _author(clone: Clone, person: str) -> tuple[str, str]:
    """Return the clone's Git identity, or the person's own name where none is set, as in CI."""
    try:
        return clone.identity()
    except UsageError:
        return person, f"{person}@{os.uname().nodename or 'localhost'}"
