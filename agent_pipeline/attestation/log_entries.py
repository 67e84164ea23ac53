"""One entry of the shared log: who signed it, whether they may say such a thing, and what must follow from it.

The newest trust root says for which part of the log a key speaks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from agent_pipeline.attestation import dsse, log_tree, merkle, state_map, statements
from agent_pipeline.attestation.log_tree import Read
from agent_pipeline.documents import strict
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.log_entry import ENDINGS, FIRST_PREVIOUS, LogEntry
from agent_pipeline.documents.root import Former, TrustRoot
from agent_pipeline.documents.statement import PAYLOAD_TYPE, Statement
from agent_pipeline.errors import RejectedError, SchemaError, SignatureError
from agent_pipeline.frozen import frozen

STATE_FOLDER: Final = "state"
_HINT: Final = "find out who signed it; `agent-pipeline audit verify` looks through all of the log"
_REWRITTEN: Final = "that needs no key, and whoever handed it on can have done it; another clone's log has CI's own"


@frozen
class Signed:
    """An entry, by whom it is signed with which key, and the SHA-256 of its envelope.

    `ended` is None for an entry by a key that spoke at its place, else the grant that had ended by then: the entry is
    void, it keeps its place and says nothing.
    """

    entry: LogEntry
    person: str
    keyid: str
    digest: str
    ended: Former | None = None

    @property
    def item(self) -> state_map.Item:
        """What the log's map says about it."""
        return state_map.Item(self.entry.index, self.entry.event, self.digest)


def read_unsigned(data: bytes) -> LogEntry:
    """Return what an envelope says, whoever signed it. Raises `SchemaError`."""
    return LogEntry.from_statement(Statement.from_json(Envelope.from_json(data).payload))


def read(data: bytes, root: TrustRoot, index: int | None = None) -> Signed:
    """Return the entry at `index` (where it says that it is, when None), void when its key's grant had ended by then.

    Raises `SchemaError`, and `SignatureError` when nobody signed it who ever could have. Threats: a key that may run CI
    used to say that something was merged; entries of another repository's log; a protected branch that was rewound to a
    trust root which the log already left behind; the newest entry written in another way, which needs no key: its
    digest would be another one, as if CI had signed two entries for one place.
    """
    envelope = statements.in_one_form(data, root)
    if envelope is None:
        raise SchemaError("the entry is not written in the one form that counts in the log", hint=_REWRITTEN)
    entry = LogEntry.from_statement(Statement.from_json(envelope.payload))
    place, wanted = entry.index if index is None else index, set(entry.speakers)
    if entry.repository != root.repository:
        raise SignatureError(f"entry {place} of the log is about another repository: {entry.repository[:120]!r}")
    ended = [grant for grant in root.ended(envelope.keyid) if wanted & set(grant.roles)]
    last = max(ended, key=lambda grant: grant.until, default=None)
    now = root.speaker(envelope.keyid, place)
    if last is not None and (now is None or not wanted & set(now.roles)):
        dsse.check(envelope, last.key, PAYLOAD_TYPE)
        return Signed(entry, last.owner, envelope.keyid, strict.sha256(data), last)
    person = statements.signer(envelope, root, at=place)
    statements.require_role(person, *entry.speakers)
    if entry.root > root.version:
        raise SignatureError(
            f"entry {place} of the log goes by version {entry.root} of the trust root, and the protected branch has "
            f"version {root.version}: it was rewound",
            hint="put the protected branch back to its newest commit, and find out who moved it",
        )
    return Signed(entry, person.name, envelope.keyid, strict.sha256(data))


def standing(entries: Iterable[Signed]) -> tuple[Signed, ...]:
    """Return those that are not void. Raises `SignatureError` for one that the log itself says cannot be there.

    An entry after its key's end is void when the log did not know of that end yet. After the log's own entry about it
    nobody could have put it there by mistake. What an entry says of an end before the trust root's own end of it is no
    such knowledge: anybody who signs entries could write that.
    """
    every = tuple(entries)
    kept = tuple(signed for signed in every if signed.ended is None)
    endings = [signed.entry for signed in kept if signed.entry.event in ENDINGS]
    for signed in every:
        check_void(signed, endings)
    return kept


def check_void(signed: Signed, endings: Iterable[LogEntry]) -> None:
    """Raise `SignatureError` for a void entry after one of `endings`, which stand, that told of its key's end."""
    ended, index = signed.ended, signed.entry.index
    if ended is None:
        return
    known = ended.until if ended.revoked else ended.until - 1  # in good order a key may sign the entry by which it ends
    event = "revoked" if ended.revoked else "retired"  # an earlier end, in good order, says nothing of a theft
    for entry in endings:
        if entry.event == event and ended.keyid in (entry.keys or ()) and known <= entry.index < index:
            raise SignatureError(
                f"entry {index} of the log is signed by key {ended.keyid[:8]}, which entry {entry.index} had "
                f"{entry.event}",
                hint="somebody who may push put it there; put refs/agent-pipeline/log back to the entry before it",
            )


def named(index: int, error: RejectedError) -> SignatureError:
    """Return `error` as one about entry `index`."""
    return SignatureError(f"entry {index} of the log: {error.message}", hint=error.hint or _HINT)


@frozen
class Roots:
    """What the next entry must say of all entries before it; `files` is what changes in storage, None for what goes."""

    index: int
    previous: str
    history: str
    state: str
    files: dict[str, bytes | None]

    def check(self, entry: LogEntry) -> None:
        """Raise `SignatureError` unless `entry` says the same."""
        self.check_place(entry)
        for what, said, computed in (("history", entry.history, self.history), ("state", entry.state, self.state)):
            if said != computed:
                raise SignatureError(
                    f"entry {entry.index} of the log commits to another {what} than the log before it has", hint=_HINT
                )

    def check_place(self, entry: LogEntry) -> None:
        """Raise `SignatureError` unless `entry` continues the entry before; of the rest it may say what it wants."""
        if (entry.index, entry.previous) != (self.index, self.previous):
            raise SignatureError(
                f"entry {self.index} of the log does not continue the one before it (it says index {entry.index})",
                hint="an entry was dropped, moved or put in; compare with another clone's refs/agent-pipeline/log",
            )


FIRST: Final = Roots(0, FIRST_PREVIOUS, merkle.EMPTY.hex(), state_map.NOTHING.hex(), {})


def after(read_file: Read, entry: LogEntry, envelope: bytes) -> Roots:
    """Return what must be said after `entry`, whose envelope is `envelope` and beside which `read_file` reads.

    What is stored beside an entry is the log before it, so it is checked against what the entry commits to. Raises
    `SignatureError` when it is something else.
    """
    digest = strict.sha256(envelope)
    tree = log_tree.add(read_file, entry.index, bytes.fromhex(entry.history), envelope)
    item = state_map.Item(entry.index, entry.event, digest)
    grown = state_map.add(fetch_from(read_file), bytes.fromhex(entry.state), entry.about, item)
    files: dict[str, bytes | None] = dict(tree.files)
    for prefix, data in grown.nodes.items():
        leaf = node_path(prefix, branch=False)
        if data[:1] == state_map.BRANCH_BYTE:
            files |= {leaf: None} if prefix and read_file(leaf) is not None else {}
            files[node_path(prefix, branch=True)] = data
        else:
            files[leaf] = data
    return Roots(entry.index + 1, digest, tree.root.hex(), grown.root.hex(), files)


def node_path(prefix: str, *, branch: bool) -> str:
    """Return where a node of the map is stored: a leaf is a file, a branch a folder with a file `node`."""
    return "/".join((STATE_FOLDER, *prefix, *(("node",) if branch else ())))


def fetch_from(read_file: Read) -> state_map.Fetch:
    """Return how nodes of the map are found in storage."""

    def fetch(prefix: str, _wanted: bytes) -> bytes | None:
        data = read_file(node_path(prefix, branch=True))
        return read_file(node_path(prefix, branch=False)) if data is None and prefix else data

    return fetch


def stopped_by(entries: Iterable[Signed]) -> Signed | None:
    """Return the entry that stopped everything, None when there is none or work was resumed after it."""
    cord = [signed for signed in entries if signed.entry.event in ("stopped", "resumed")]
    return cord[-1] if cord and cord[-1].entry.event == "stopped" else None


def standing_rejections(about: Iterable[LogEntry]) -> list[LogEntry]:
    """Return the rejections among the entries about one proposal that stand by the log alone, oldest first.

    CI's own stand for good. A reviewer's ends with a later entry about an approval by the same reviewer that names it.
    """
    standing: list[LogEntry] = []
    for entry in about:
        if entry.event == "rejected":
            standing.append(entry)
        elif entry.event == "approved":
            standing = [one for one in standing if not _took_back(entry, one)]
    return standing


def _took_back(approved: LogEntry, rejected: LogEntry) -> bool:
    named = set(rejected.envelopes)
    return rejected.reviewer is not None and rejected.reviewer == approved.reviewer and named <= set(approved.envelopes)
