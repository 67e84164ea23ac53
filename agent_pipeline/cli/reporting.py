"""The document of `request --json` and `show --json`: what there is to say of a request, and what its copy lacked."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from agent_pipeline.documents import strict
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.repository import records
from agent_pipeline.repository.dossier import open_dossier, runs
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.records import Record
from agent_pipeline.review import report as reports
from agent_pipeline.workspace import absent


def report(desk: Desk, name: str, now: datetime) -> dict[str, Any]:
    """Return what `review.report` returns, and as `copy` what of the base the agent did not get: the runner's word.

    `copy` is None before the run has begun, and where the transcript does not say it or is not the signed one.
    """
    document = reports.report(desk, name, now)
    record = records.find(desk.clone, document["id"], desk.remote)
    proposal = document["proposal"]
    try:
        data = _ended(record) if proposal is None else _signed(record, records.split_id(proposal)[1])
    except AgentPipelineError:  # a record that cannot be read so far says nothing of the copy
        data = None
    return document | {"copy": absent.noted(data) if data is not None else None}


def _ended(record: Record) -> bytes | None:
    """Return the transcript that the newest run without a proposal left."""
    return record.read(f"{max(runs(record), default=0)}/transcript.jsonl")


def _signed(record: Record, number: int | None) -> bytes | None:
    dossier = open_dossier(record, number)
    return dossier.transcript if strict.sha256(dossier.transcript) == dossier.provenance.transcript else None
