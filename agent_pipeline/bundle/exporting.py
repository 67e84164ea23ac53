"""Making a bundle of a proposal: what its record, the protected branch and the log say now, and not a byte else."""

from __future__ import annotations

from agent_pipeline.bundle import logs
from agent_pipeline.documents import bundle
from agent_pipeline.documents.bundle import BundleManifest
from agent_pipeline.errors import GitError
from agent_pipeline.repository import portable, records
from agent_pipeline.repository.dossier import Dossier, open_dossier
from agent_pipeline.repository.landed import Desk
from agent_pipeline.review import evidence
from agent_pipeline.review.report import merged_as


def export(desk: Desk, name: str) -> tuple[BundleManifest, bytes]:
    """Return the bundle of the proposal that `name` means; of a merged request, the one that was merged.

    The same record, protected branch and log give the same bytes. Raises `UsageError` when there is no such proposal,
    `SignatureError` for a log that does not hold, `SchemaError` for more than a bundle holds.
    """
    prefix, number = records.split_id(name)
    record = records.find(desk.clone, prefix, desk.remote)
    told = logs.read(desk, record.id)
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


def _merge(desk: Desk, dossier: Dossier) -> str:
    found = merged_as(desk, dossier)
    if found is None:
        raise GitError(
            f"the log says that {dossier.name} was merged, and {dossier.proposal.target} has no such merge",
            hint="`agent-pipeline audit verify` looks for what was rewritten",
        )
    return found
