"""Landing the next version of the trust root: the signed files on the protected branch, and in the log what ended.

Both move in one atomic push, each from where it was read. Where the branch takes no push, the commit waits on a branch
for a pull request, and CI puts into the log what has ended once it has landed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agent_pipeline import interrupts
from agent_pipeline.attestation.ballots import Ballot
from agent_pipeline.audit import endings, entries, high_water
from agent_pipeline.audit import log as audit_log
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.errors import RejectedError, StaleError
from agent_pipeline.repository import landed, records, refs, remotes, root_draft, seen_roots, worktree
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.refs import RefUpdate
from agent_pipeline.repository.trust_files import file_name
from agent_pipeline.signing.commits import commit_files
from agent_pipeline.signing.hand import Hand

BRANCH: Final = "refs/heads/agent-pipeline-trust"


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the version is now: `branch` (the protected one, or the one to merge from), its commit, the log's entry."""

    branch: str
    commit: str
    logged: int | None


def land(desk: Desk, ballot: Ballot, hand: Hand, message: str, now: datetime) -> Placed:
    """Put a version that everybody needed has signed on the protected branch.

    Raises `StaleError` when the branch or the log moved meanwhile, and `RejectedError` for a version that no reader
    would take, by form or size: nothing was changed then.
    """
    if not ballot.complete:
        raise RejectedError(f"version {ballot.root.version} of the trust root lacks signatures: {ballot.missing}")
    branch = landed.SETUP_BRANCH if desk.landed.trial else desk.landed.anchor.branch
    old = desk.landed.commit
    commit = commit_files(desk.clone, old, _files(ballot), message, hand, now)
    landed.read_back(desk, commit)  # what nobody could read would lock everybody out, and nothing could mend it
    logged = _logged(desk, ballot, hand, now)
    update, gone = RefUpdate(branch, old, commit), root_draft.discard(desk.clone, desk.remote)
    updates = [update, *([logged[1]] if logged is not None else []), *([gone] if gone is not None else [])]
    try:
        _publish(desk, updates, update)
    except StaleError:
        raise
    except RejectedError as error:
        return _for_a_pull_request(desk, commit, error)
    seen_roots.remember(desk.config, desk.landed.anchor, ballot.root, commit, desk.tell)
    if logged is not None:
        high_water.remember(desk, logged[1].new)
    return Placed(branch, commit, logged[0] if logged is not None else None)


def _files(ballot: Ballot) -> dict[str, bytes]:
    return {
        file_name(ballot.root.version, keyid): data.rstrip(b"\n") + b"\n" for keyid, data in ballot.envelopes.items()
    }


def _logged(desk: Desk, ballot: Ballot, hand: Hand, now: datetime) -> tuple[int, RefUpdate] | None:
    """Return index and update of the log's entry about what ends with this version, None when nothing does."""
    log = high_water.open_log_by(desk, ballot.root)  # what this version voids, nothing is built on
    known = [signed.entry for signed in log.about_everything(ballot.root)]
    before = set(endings.unlogged(desk.landed.root, known))
    new = [ending for ending in endings.unlogged(ballot.root, known) if ending not in before]
    if not new:
        return None
    _check_nothing_lost(log, desk.landed.root, ballot.root)
    _check_speaks(hand, ballot.root, log.next_index)
    said = entries.about_ending(new[0])
    return log.next_index, entries.append(desk, log, said, hand.signer.statement, now, root=ballot.root)


def _check_nothing_lost(log: audit_log.Log, before: TrustRoot, root: TrustRoot) -> None:
    """Raise `StaleError` when `root` would void what a key that ends in good order has logged meanwhile."""
    orderly = [grant for grant in root.former if not grant.revoked and grant not in before.former]
    first = min((grant.until for grant in orderly), default=log.next_index)
    for signed in log.newest_from(first, root):
        if signed.ended is not None and not signed.ended.revoked:
            raise StaleError(
                f"{signed.person}'s key {signed.keyid[:8]}, which is to end, signed entry {signed.entry.index} after "
                "this version was drafted: that would be void",
                hint=f"let {signed.person} pause, then draft the version again",
            )


def _check_speaks(hand: Hand, root: TrustRoot, index: int) -> None:
    person = root.speaker(hand.signer.public().keyid, index)
    if person is None or not {"ci", "merger", "root"} & set(person.roles):
        raise RejectedError(
            "your key cannot sign the log's entry about this: it ends with this version",
            hint="somebody who keeps the role root finishes it: agent-pipeline trust sign",
        )


def _publish(desk: Desk, updates: list[RefUpdate], update: RefUpdate) -> None:
    """Move all or nothing, and the checked-out files with the branch when nothing is in the way."""
    branch, old, new = update.ref, str(update.old), str(update.new)
    checked_out = desk.clone.worktree is not None and desk.clone.head_ref() == branch
    follow = checked_out and desk.clone.ref(branch) == old and not worktree.can_update(desk.clone, old, new)
    with interrupts.held_back():
        records.publish(desk.clone, updates, remote=desk.remote)
        if follow:
            if desk.remote is not None:
                refs.update(desk.clone, [update])
            worktree.update(desk.clone, old, new)


def _for_a_pull_request(desk: Desk, commit: str, error: RejectedError) -> Placed:
    """Put the commit where a pull request can be made of it. Raises `error` itself when there is no remote."""
    if desk.remote is None:
        raise error
    desk.tell(f"{desk.remote} does not take it directly: {error.message}")
    update = RefUpdate(BRANCH, desk.clone.ref(remotes.tracking(desk.remote, BRANCH)), commit)
    records.publish(desk.clone, [update], remote=desk.remote)
    return Placed(BRANCH, commit, None)
