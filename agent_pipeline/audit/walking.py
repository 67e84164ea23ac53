"""Going through the log entry by entry: whether each one says what the log before it makes true, and stores no more.

Decisions read by proof and need none of this. Whoever appends goes through what came since he last did, so that no
entry builds on another's lie; an audit goes through everything. What is kept is one entry at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from agent_pipeline.attestation import log_entries
from agent_pipeline.attestation.log_entries import FIRST, Roots, Signed
from agent_pipeline.audit import log as audit_log
from agent_pipeline.documents.log_entry import ENDINGS, LogEntry
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.errors import RejectedError, SignatureError
from agent_pipeline.repository import commits
from agent_pipeline.repository.changed import blob_id, changed_files
from agent_pipeline.repository.clone import Clone

_FIND_OUT = "find out who signed it and who pushed it"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, at which entry or ref, by whom (the signer, and who the commit says made it), what to do."""

    what: str
    todo: str
    index: int | None = None
    ref: str | None = None
    signer: str | None = None
    committer: str | None = None


@dataclass(frozen=True, slots=True)
class Passed:
    """An entry that was gone through, and its commit. Void ones too."""

    commit: str
    signed: Signed


@dataclass(slots=True)
class _State:
    """The log so far: what must follow, the newest commit whose tree is known to be right, what changed since then.

    `endings` are the entries that told of a key's end, those up to the commit `unread` only once somebody asks.
    """

    roots: Roots
    good: str | None
    files: dict[str, bytes | None]
    unread: str | None = None
    endings: list[LogEntry] = field(default_factory=list)


def since(clone: Clone, head: str, base: str | None) -> Iterator[str]:
    """Yield the log's commits after `base` (None: all) up to `head`, oldest first; 20 bytes are kept for each.

    Raises `SignatureError` when `base` is not among them, or the log forks.
    """
    names = bytearray()
    at: str | None = head
    width = len(head) // 2
    while at is not None and at != base:
        names += bytes.fromhex(at)
        at = audit_log.before(clone, at)
    if base is not None and at is None:
        raise SignatureError(f"the log's commits do not lead back to {base[:12]}", hint=_FIND_OUT)
    for place in range(len(names) - width, -1, -width):
        yield names[place : place + width].hex()


def walk(clone: Clone, root: TrustRoot, head: str, base: str | None = None) -> Iterator[Passed | Finding]:
    """Go through the entries after the commit `base`, which is believed, up to `head`; yield each, and what is wrong.

    Ends where nothing can be compared any more. Raises `SignatureError` when the commits are no chain, `GitError`.
    """
    state = _State(FIRST, None, {}) if base is None else _state_at(clone, base)
    for commit in since(clone, head, base):
        index = state.roots.index
        try:
            envelope = audit_log.envelope_of(clone, commit)
            signed = log_entries.read(envelope, root, index)
            state.roots.check_place(signed.entry)
        except RejectedError as error:
            yield Finding(error.message, error.hint or _FIND_OUT, index, committer=commits.committer(clone, commit))
            return
        yield from _late(clone, state, commit, signed, root)
        yield from _compared(clone, state, commit, signed)
        yield Passed(commit, signed)
        try:
            _go_on(clone, state, commit, envelope, signed)
        except RejectedError as error:
            yield finding(clone, commit, signed, f"what is stored is not what was signed: {error.message}")
            return


def _state_at(clone: Clone, base: str) -> _State:
    envelope = audit_log.envelope_of(clone, base)
    entry = log_entries.read_unsigned(envelope)
    roots = log_entries.after(lambda path: audit_log.stored(clone, base, path), entry, envelope)
    return _State(roots, base, dict(roots.files), base)


def _late(clone: Clone, state: _State, commit: str, signed: Signed, root: TrustRoot) -> Iterator[Finding]:
    """Yield that a void entry stands after the log's own about its key's end, where nobody honest can have put it.

    Threat: a thief who goes on with the key after `trust revoke`, and may push. Before the log's own entry nobody could
    know of that end, and void is all that such an entry is.
    """
    if signed.ended is None:
        return
    if state.unread is not None:
        before = audit_log.at(clone, state.unread, root).about_everything(root)
        state.endings[:0] = [one.entry for one in before if one.entry.event in ENDINGS]
        state.unread = None
    try:
        log_entries.check_void(signed, state.endings)
    except SignatureError as error:
        made_by = commits.committer(clone, commit)
        yield Finding(error.message, error.hint or _FIND_OUT, signed.entry.index, None, signed.person, made_by)


def _compared(clone: Clone, state: _State, commit: str, signed: Signed) -> Iterator[Finding]:
    """Yield what an entry says otherwise than it is, and what its commit stores otherwise. Void ones are let be."""
    if signed.ended is not None:
        return
    entry, roots = signed.entry, state.roots
    for what, said, true in (("history", entry.history, roots.history), ("state", entry.state, roots.state)):
        if said != true:
            yield finding(clone, commit, signed, f"it commits to another {what} than the log before it has")
    wanted = {path: None if data is None else blob_id(data) for path, data in state.files.items()}
    old = None if state.good is None else clone.tree(state.good)
    found = changed_files(clone, old, clone.tree(commit))
    found.pop(audit_log.FILE, None)
    odd = sorted(path for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path))
    if odd:
        said = f"its commit stores something else than the log before it: {', '.join(odd[:3])}"
        yield finding(clone, commit, signed, said)


def _go_on(clone: Clone, state: _State, commit: str, envelope: bytes, signed: Signed) -> None:
    honest = replace(signed.entry, history=state.roots.history, state=state.roots.state)
    if signed.ended is None:
        state.good, state.files = commit, {}
        state.endings += [signed.entry] if signed.entry.event in ENDINGS else []
    base, files = state.good, state.files

    def read(path: str) -> bytes | None:
        if path in files:
            return files[path]
        return None if base is None else audit_log.stored(clone, base, path)

    state.roots = log_entries.after(read, honest, envelope)
    state.files = files | state.roots.files


def finding(clone: Clone, commit: str, signed: Signed, what: str) -> Finding:
    """Return that `what` is wrong with an entry that somebody signed, and what to do about its key."""
    index = signed.entry.index
    todo = (
        f"ask {signed.person}; if the key was stolen: agent-pipeline trust revoke {signed.keyid[:16]} --since {index}"
    )
    return Finding(f"entry {index}: {what}", todo, index, None, signed.person, commits.committer(clone, commit))
