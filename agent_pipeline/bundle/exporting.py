"""Making a bundle of a proposal: what its record, the protected branch and the log say now, and not a byte else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from agent_pipeline.attestation import statements
from agent_pipeline.audit import seen_records
from agent_pipeline.bundle import logs
from agent_pipeline.documents import bundle, strict
from agent_pipeline.documents.bundle import BundleManifest
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.documents.words import counted
from agent_pipeline.errors import GitError, SchemaError
from agent_pipeline.repository import portable, records
from agent_pipeline.repository.dossier import Dossier, open_dossier
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.records import Record
from agent_pipeline.review import evidence
from agent_pipeline.review.report import merged_as


def export(desk: Desk, name: str) -> tuple[BundleManifest, bytes]:
    """Return the bundle of the proposal that `name` means; of a merged request, the one that was merged.

    The same record, protected branch and log give the same bytes. Raises `UsageError` when there is no such proposal,
    `SignatureError` for a log that does not hold, `SchemaError` for more than a bundle holds, `GitError` for a record
    that lacks what the log names: a bundle of it would prove nothing.
    """
    prefix, number = records.split_id(name)
    record = records.find(desk.clone, prefix, desk.remote)
    told = logs.read(desk, record.id)
    _check_whole(desk, record, told.entries)
    merged = next((entry for entry in told.entries if (entry.event, entry.request) == ("merged", record.id)), None)
    dossier = open_dossier(record, number or (merged.number if merged is not None else None))
    merge = None
    if merged is not None and merged.statement == dossier.statement:
        merge = _merge(desk, dossier)
    staged = desk.clone.parents(merge)[1] if merge is not None else evidence.staged_tip(desk, dossier)
    manifest = BundleManifest(
        version=1,
        request=record.id,
        number=dossier.number,
        repository=desk.landed.root.repository,
        branch=desk.landed.anchor.branch,
        trial=desk.landed.trial,
        rules=desk.landed.commit,
        record=record.tip,
        contents=(),
        staged=staged,
        merge=merge,
    )
    found = portable.collect(desk.clone, portable.Heads(record, desk.landed.commit, staged, merge))
    contents = {name: found.read(name) for name in found.objects}
    data = bundle.write(manifest, contents | told.contents)
    return bundle.read(data).manifest, data


def _check_whole(desk: Desk, record: Record, entries: tuple[LogEntry, ...]) -> None:
    ref = records.REQUESTS + record.id
    gone = desk.remote is not None and desk.tip(ref) is None
    seen = seen_records.seen(desk).get(record.id)
    hint = "`agent-pipeline audit verify` looks for what is missing; restore the record, then export again"
    if seen is not None:
        hint = f"if this clone's newest is right: git push --force {desk.remote} {seen}:{ref}, then export again"
    if gone and entries:
        raise GitError(
            f"the record of {record.id} is gone from {desk.remote}, and entry {entries[0].index} of the log names it: "
            "what this clone has of it may be old",
            hint=hint,
        )
    if gone and seen is not None:
        desk.tell(f"note: the record of {record.id} was on {desk.remote} and is gone: this is what this clone has seen")
    envelopes, root = record.each_envelope("", strict.MAX_BYTES), desk.landed.root
    held = frozenset(digest for data in envelopes for digest in _digests(data, root))
    for entry in entries:
        missing = [digest[:16] for digest in entry.envelopes if digest not in held]
        if missing:
            raise GitError(
                f"the record of {record.id} lacks {counted(len(missing), 'envelope')} that entry {entry.index} of the "
                f"log ({entry.event}) names: {', '.join(missing[:3])}",
                hint=hint,
            )


def _digests(data: bytes, root: TrustRoot) -> Iterator[str]:
    """Yield what the log may name an envelope by: its bytes, or its one form, in which CI notes rejections."""
    yield strict.sha256(data)
    with contextlib.suppress(SchemaError):
        yield strict.sha256(statements.plain(data, root))


def _merge(desk: Desk, dossier: Dossier) -> str:
    found = merged_as(desk, dossier)
    if found is None:
        raise GitError(
            f"the log says that {dossier.name} was merged, and {dossier.proposal.target} has no such merge",
            hint="`agent-pipeline audit verify` looks for what was rewritten",
        )
    return found
