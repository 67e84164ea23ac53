"""The one commit that `init` makes, the first trust root in it, and the anchor that pins it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent_pipeline import interrupts
from agent_pipeline.attestation import drafts
from agent_pipeline.cli.onboarding import Place
from agent_pipeline.documents import strict
from agent_pipeline.documents.anchor import Anchor
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.root import LOCAL, PAYLOAD_TYPE
from agent_pipeline.errors import RejectedError, StaleError
from agent_pipeline.repository import anchor as anchors
from agent_pipeline.repository import landed, records, remotes, worktree
from agent_pipeline.repository.refs import RefUpdate
from agent_pipeline.repository.trust_files import file_name
from agent_pipeline.signing.commits import commit_files

ROOT_DAYS = 365


@dataclass(frozen=True, slots=True)
class Done:
    """The commit that was made, where, and what was pinned."""

    branch: str
    commit: str
    root: str
    trial: bool


def first_root(place: Place, now: datetime) -> tuple[str, bytes]:
    """Return the first trust root's path and its signed bytes: the person who sets up has every role but reviewer."""
    key = place.hand.signer.public()
    repository = place.clone.remote_url(place.remote) if place.remote else f"{LOCAL}{secrets.token_hex(16)}"
    root = drafts.first(repository, place.branch, place.hand.person, key, expires=now + timedelta(days=ROOT_DAYS))
    envelope = place.hand.signer.envelope(PAYLOAD_TYPE, root.to_json())
    return file_name(1, key.keyid), envelope.to_json() + b"\n"


def commit(place: Place, files: Mapping[str, bytes], root: bytes, now: datetime, *, push: bool) -> Done:
    """Make the commit of `files` and pin the anchor, whose first root is in the envelope `root`.

    Where the branch is protected, the commit goes to `agent-pipeline-setup`.
    """
    new = commit_files(place.clone, place.base, files, "Set up agent-pipeline\n", place.hand, now)
    branch, trial = _publish(place, new, push=push)
    digest = strict.sha256(Envelope.from_json(root).payload)
    anchors.save_pin(place.config, Anchor(anchors.url_of(place.clone, place.remote), place.branch, digest))
    if place.remote is not None:
        place.clone.set_config("agent-pipeline.remote", place.remote)
    return Done(branch, new, digest, trial)


def _publish(place: Place, new: str, *, push: bool) -> tuple[str, bool]:
    """Move the branch, or make `agent-pipeline-setup` when refused. Return the branch, and if it is a trial."""
    in_the_way = worktree.can_update(place.clone, place.base, new) if place.clone.worktree is not None else ()
    if in_the_way:
        raise StaleError(
            f"your working tree has its own {', '.join(in_the_way[:5])}", hint="move it away, then try again"
        )
    remote = place.remote if push else None
    if remote is not None:
        try:
            remotes.push(place.clone, remote, [RefUpdate(place.branch, place.base, new)])
        except RejectedError as error:
            place.tell(f"{remote} does not take {place.branch}: {error.message}")
            update = RefUpdate(landed.SETUP_BRANCH, place.clone.ref(remotes.tracking(remote, landed.SETUP_BRANCH)), new)
            records.publish(place.clone, [update], remote=remote)
            return landed.SETUP_BRANCH, True
    with interrupts.held_back():
        records.publish(place.clone, [RefUpdate(place.branch, place.base, new)], remote=None)
        if place.clone.worktree is not None:
            worktree.update(place.clone, place.base, new)
    if remote is not None:
        remotes.fetch(place.clone, remote)
    return place.branch, False
