"""The hand that signs: which of a person's keys may speak in a role, by the trust root in force."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True, slots=True)
class Unusable:
    """A file of the key folder that cannot be used, and what is wrong with it."""

    path: str
    error: UsageError | RejectedError

    @property
    def said(self) -> str:
        """What is wrong, with the file's name."""
        message = self.error.message
        return message if self.path in message else f"{self.path}: {message}"


def key_sources(config: Config) -> tuple[str, ...]:
    """Return what a `Signer` can be made of: `AGENT_PIPELINE_KEY` alone if it is set, else the key folder's files."""
    if config.key is not None:
        return (config.key,)
    if not config.keys.is_dir():
        return ()
    return tuple(str(path) for path in sorted(config.keys.iterdir()) if path.suffix != ".pub" and _is_file(path))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return True  # a link that we may not follow: whoever opens it says so


def signers(config: Config, unusable: list[Unusable]) -> Iterator[Signer]:
    """Yield a signer for each key here whose public half can be had, in order; add the other files to `unusable`.

    A bad file in the key folder stands in no other key's way. The key that `AGENT_PIPELINE_KEY` names is meant: it can
    be used, or its error is raised. `UnavailableError` is always raised: it says nothing about the key.
    """
    for source in key_sources(config):
        signer = Signer(source)
        try:
            signer.public()
        except (UsageError, RejectedError) as error:
            if config.key is not None:
                raise
            unusable.append(Unusable(source, error))
            continue
        yield signer


def find(config: Config, clone: Clone, root: TrustRoot, role: str, *, person: str | None = None) -> Hand | None:
    """Return this person's hand in `role`, or None when no key here has it; with `person`, by a key of that one alone.

    Raises `UsageError` without keys, and what is wrong with the first one where none of them can be used.
    """
    unusable: list[Unusable] = []
    none = True
    for signer in signers(config, unusable):
        none = False
        owner = root.owner(signer.public().keyid)
        if owner is not None and role in owner.roles and person in (None, owner.name):
            name, email = _author(clone, owner.name)
            return Hand(signer, owner.name, owner.roles, name, email)
    if none:
        raise nothing(config, unusable)
    return None


def nothing(config: Config, unusable: Sequence[Unusable]) -> UsageError | RejectedError:
    """Return the error to raise where no key here can be used."""
    if unusable:
        return unusable[0].error
    return UsageError(
        f"there is no key in {config.keys}",
        hint="make one with `agent-pipeline keys generate`, then offer it with `agent-pipeline join`",
    )


def passed_over(unusable: Sequence[Unusable]) -> str:
    """Return what to add where no key here would do: why each of the others could not be asked."""
    return "".join(f"; not usable: {one.said}" for one in unusable)


def need(config: Config, clone: Clone, root: TrustRoot, role: str) -> Hand:
    """Return this person's hand in `role`. Raises `RejectedError` when the trust root gives no key here that role."""
    hand = find(config, clone, root, role)
    if hand is None:
        unusable: list[Unusable] = []
        ended = _ended(signers(config, unusable), root, role)
        raise RejectedError(
            ended or f"none of your keys has the role `{role}` in this repository{passed_over(unusable)}",
            hint="`agent-pipeline trust show` lists who has; `agent-pipeline join` offers your key",
        )
    return hand


def _ended(here: Iterable[Signer], root: TrustRoot, role: str) -> str | None:
    """Say that a key here had the role once, None when none had."""
    for signer in here:
        for grant in root.ended(signer.public().keyid):
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
