"""How far the log has been seen to go: by the protected branch, and by this clone.

Every merge names the head that the log had then, and every clone keeps the newest head that it saw. A log that
does not continue both was rewound, forked or replaced since, by somebody who may push its ref. That it does is a Merkle
proof (RFC 9162, 2.1.3 and 2.1.4) from the newest entry's signature down.
"""

from __future__ import annotations

import contextlib
import re
from typing import Final

from agent_pipeline.attestation import log_entries, log_tree, merkle, sshsig
from agent_pipeline.audit import log as audit_log
from agent_pipeline.audit import walking
from agent_pipeline.audit.log import Log
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.errors import GitError, RejectedError, SignatureError
from agent_pipeline.repository import commits, refs
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.refs import RefUpdate

_MARK: Final = re.compile(r"^Agent-Pipeline-Log: ([0-9a-f]{40,64})$", re.MULTILINE)
_LOOKED_AT: Final = 10_000  # commits of the protected branch, newest first


def mark(desk: Desk, log: Log) -> str | None:
    """Return the log's head as the newest merge on the protected branch names it, None when there was no merge.

    Only what a merger signed is a merge: anybody's commit message can say the same. A merge is judged at the
    index of the entry of `log` that it names.
    """
    at = desk.tip(desk.landed.anchor.branch)
    for _ in range(_LOOKED_AT):
        if at is None:
            return None
        found = _MARK.search(desk.clone.message(at))
        if found is not None and _by_merger(desk, at, _index(log, found[1], desk.landed.root)):
            return found[1]
        at = next(iter(desk.clone.parents(at)), None)
    return None


def named_entry(message: str) -> str | None:
    """Return the log's commit that the message of a merge names, or None."""
    found = _MARK.search(message)
    return None if found is None else found[1]


def _by_merger(desk: Desk, commit: str, index: int | None) -> bool:
    """Say whether a merger signed `commit`, which names the log's entry `index` (None: one that the log lacks).

    Where the entry is gone nothing says when it was made: whoever was a merger in good order counts then, so that a
    log cannot be rewound behind the merges of people who left.
    """
    signed = commits.signature_of(desk.clone, commit)
    if signed is None:
        return False
    payload, armored = signed
    try:
        keyid = sshsig.read(armored).key.keyid
        key, owner = desk.landed.root.known(keyid), desk.landed.root.speaker(keyid, index)
        left = [grant.roles for grant in desk.landed.root.ended(keyid) if index is None and not grant.revoked]
        roles = {*(owner.roles if owner is not None else ()), *(role for group in left for role in group)}
        if key is None or "merger" not in roles:
            return False
        sshsig.verify(payload, armored, key)
    except RejectedError:
        return False
    return True


def check(desk: Desk, log: Log) -> None:
    """Raise `SignatureError` when the log does not continue what the protected branch or this clone has seen of it."""
    named = mark(desk, log)
    root = desk.landed.root
    if named is not None and (why := _lost(log, named, root)):
        raise SignatureError(
            f"the log was rewound or replaced: {desk.landed.anchor.branch} names its entry {named[:12]}, {why}",
            hint="restore refs/agent-pipeline/log from another clone, and find out who moved it",
        )
    seen = _seen(desk)
    if seen is not None and (why := _lost(log, seen, root)):
        raise SignatureError(
            f"the log was rewound or replaced: this clone has seen its entry {seen[:12]}, {why}",
            hint=f"find out who moved it; to put it back: git push {desk.remote} {seen}:refs/agent-pipeline/log "
            f"(or, if it is right as it is: git update-ref -d {_name(desk)})",
        )


def _index(log: Log, commit: str, root: TrustRoot) -> int | None:
    """Return the index of the entry in `commit`, None when the log does not have it."""
    return (
        None if _lost(log, commit, root) else log_entries.read_unsigned(audit_log.envelope_of(log.clone, commit)).index
    )


def _lost(log: Log, commit: str, root: TrustRoot) -> str | None:
    """Return why the log does not continue the one that ended with `commit`; None when it does, by proof.

    Read are the entry that was seen and a few small files, not what lies between. What an entry that is void by `root`
    says of the log before it is not believed: it has to be there, and so has the newest one before it that stands.
    """
    before: str | None = commit
    here = {log.commit, *(void.commit for void in log.tail)}
    while before is not None and before not in here:
        try:
            envelope = audit_log.envelope_of(log.clone, before)
            entry = log_entries.read_unsigned(envelope)
        except (GitError, RejectedError):
            return "which is gone"
        if log.newest is None or entry.index >= log.size:
            return "which is gone"
        void = _is_void(envelope, root, entry.index)
        try:
            _continues(log, log.newest.entry, entry, envelope, void=void)
            before = audit_log.before(log.clone, before) if void else None
        except SignatureError as error:
            return f"which is not in it any more ({error.message})"
    return None


def _is_void(envelope: bytes, root: TrustRoot, index: int) -> bool:
    try:
        return log_entries.read(envelope, root, index).ended is not None
    except RejectedError:
        return False


def _continues(log: Log, newest: LogEntry, seen: LogEntry, envelope: bytes, *, void: bool) -> None:
    """Raise `SignatureError` unless the newest entry commits to the one that was seen, and to all before that.

    Of what a void one says of all before it nothing is asked.
    """
    size, index = newest.index, seen.index
    if index == size:
        if log.envelope != envelope:
            raise SignatureError(f"entry {index} is another one")
        return
    root = bytes.fromhex(newest.history)
    proof = log_tree.inclusion(log.file, index, size)
    merkle.check_inclusion(log_tree.leaf_of(envelope), index, size, proof, root)
    if index and not void:
        proof = log_tree.consistency(log.file, index, size)
        merkle.check_consistency(index, size, proof, bytes.fromhex(seen.history), root)


def open_log(desk: Desk) -> Log:
    """Return the shared log once its newest entry's signature holds and it continues all that was seen of it.

    Raises `SignatureError`, `GitError`.
    """
    log = audit_log.read(desk.clone, desk.remote, desk.landed.root)
    _check_all(desk, log, desk.landed.root)
    remember(desk, log.commit)
    return log


def open_log_by(desk: Desk, root: TrustRoot) -> Log:
    """Return the shared log as a next version of the trust root has it, which is not in force yet: nothing is kept.

    Threat: a thief whose newest entries, any number of them, lie about the log, so that nobody can read it to revoke
    his key. By the version that does so they are void. Raises as `open_log` does.
    """
    log = audit_log.read(desk.clone, desk.remote, root, log_tree.MAX_ENTRIES)
    _check_all(desk, log, root)
    return log


def _check_all(desk: Desk, log: Log, root: TrustRoot) -> None:
    check(desk, log)
    log.about_everything(root)  # nothing stands after what it says of its own keys


def remember(desk: Desk, head: str | None) -> None:
    """Keep the head of a log that continues what was seen before, or that was just published."""
    if desk.remote is not None and head is not None and (seen := _seen(desk)) != head:
        with contextlib.suppress(RejectedError, GitError):  # another command here was quicker
            refs.update(desk.clone, [RefUpdate(_name(desk), seen, head)])


def check_growth(desk: Desk, log: Log, root: TrustRoot) -> None:
    """Go through what was appended since this clone last did, so that nothing is built on what is not true.

    It begins where this clone has gone through the log under `root`, else where the newest merge vouches for
    it, else at the beginning; there also when a key was revoked that may have signed before. Raises `SignatureError`
    naming the first entry that is wrong and who signed it.
    """
    if log.head is None:
        return
    name = f"refs/agent-pipeline-checked/{desk.remote}/{root.version}"
    done = desk.clone.ref(name) if desk.remote is not None else None
    for step in walking.walk(desk.clone, root, log.head, _believed(desk, log, root, done)):
        if isinstance(step, walking.Finding):
            raise SignatureError(step.what, hint=step.todo)
    if desk.remote is not None and done != log.head:
        with contextlib.suppress(RejectedError, GitError):  # another command here was quicker
            refs.update(desk.clone, [RefUpdate(name, done, log.head)])


def _believed(desk: Desk, log: Log, root: TrustRoot, done: str | None) -> str | None:
    """Return the commit of the log up to which it was gone through already, None when that is nowhere."""
    if done is not None and _index(log, done, root) is not None:
        return done
    named = mark(desk, log)
    index = _index(log, named, root) if named is not None else None
    revoked = min((grant.until for grant in root.former if grant.revoked), default=log.size)
    return named if index is not None and index < revoked else None


def _seen(desk: Desk) -> str | None:
    return desk.clone.ref(_name(desk)) if desk.remote is not None else None


def _name(desk: Desk) -> str:
    return f"refs/agent-pipeline-seen/{desk.remote}/log"
