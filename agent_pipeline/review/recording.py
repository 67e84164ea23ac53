"""Writing a run into its request's record: a proposal, or why there is none. Failed and stopped runs are kept too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from agent_pipeline.documents import strict
from agent_pipeline.documents.proposal import Proposal
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.repository import records
from agent_pipeline.repository.dossier import PROVENANCE, RUN_REPORT, attestation_path, report_path
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.refs import RefUpdate


@dataclass(slots=True)
class Kept:
    """What a run has left so far, in case it does not come to its end."""

    data: bytes = b""

    def add(self, line: bytes) -> None:
        """Remember one more line of the transcript."""
        self.data += line


def add_proposal(desk: Desk, proposal: Proposal, transcript: bytes, provenance: bytes, carrier: str) -> None:
    """Publish a signed proposal in its record."""
    files = {
        f"{proposal.number}/proposal.json": proposal.to_json(),
        f"{proposal.number}/transcript.jsonl": transcript,
        attestation_path(proposal.number, PROVENANCE, provenance): provenance,
    }
    _extend(desk, proposal.request, files, carrier)


def _extend(desk: Desk, request: str, files: dict[str, bytes], carrier: str | None = None) -> None:
    record = records.find(desk.clone, request, desk.remote)
    commit = records.extend(desk.clone, record, request, files, carrier)
    records.publish(desk.clone, [RefUpdate(records.REQUESTS + request, record.tip, commit)], remote=desk.remote)


@contextlib.contextmanager
def kept_when_failed(desk: Desk, request: str, number: int) -> Iterator[Kept]:
    """Keep the transcript and the reason of a run that ends in an error or an interrupt; the error goes on."""
    kept = Kept()
    try:
        yield kept
    except AgentPipelineError as error:
        _keep(desk, request, number, kept, "failed", error.message)
        raise
    except KeyboardInterrupt:
        _keep(desk, request, number, kept, "interrupted", "interrupted by a person")
        raise


def _keep(desk: Desk, request: str, number: int, kept: Kept, outcome: str, detail: str) -> None:
    report = {"version": 1, "outcome": outcome, "detail": detail[:4000]}
    files = {report_path(number, RUN_REPORT): strict.canonical(report)}
    if kept.data:
        files[f"{number}/transcript.jsonl"] = kept.data
    try:
        _extend(desk, request, files)
    except AgentPipelineError as error:  # the first error is the one that people must see
        desk.tell(f"note: the failed run could not be recorded: {error.message}")
