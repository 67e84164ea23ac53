"""Whether a record is that of a request which somebody made: its own name, this repository, and who signed for it."""

from __future__ import annotations

from collections.abc import Iterable

from agent_pipeline.attestation import dsse, statements
from agent_pipeline.documents import strict
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.request import Request
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.documents.statement import PAYLOAD_TYPE
from agent_pipeline.errors import RejectedError, SchemaError, SignatureError
from agent_pipeline.repository import dossier as dossiers
from agent_pipeline.repository.records import Record


def check(record: Record, root: TrustRoot, at: int | None) -> None:
    """Raise `SchemaError` or `SignatureError` for a record that nobody's request began.

    `at` is the index of the log's first entry that names the request's envelope, None when none does. Somebody who left
    in good order had made his requests before: the log need not know of them.
    """
    _check(record, *dossiers.read_request(record), root, at)


def doubt(record: Record, root: TrustRoot, about: Iterable[LogEntry]) -> str | None:
    """Return why nobody asked for what the record says, None when who it names did. `about` is the log about it."""
    try:
        data, request = dossiers.read_request(record)
        digest = strict.sha256(data)
        at = next((entry.index for entry in about if digest in entry.envelopes), None)
        _check(record, data, request, root, at)
    except RejectedError as error:
        return error.message
    return None


def _check(record: Record, data: bytes, request: Request, root: TrustRoot, at: int | None) -> None:
    if request.id != record.id:
        raise SchemaError(f"it holds the request {request.id}")
    if request.repository != root.repository:
        raise SchemaError(f"it holds a request for another repository, {request.repository[:120]!r}")
    envelope = Envelope.from_json(data)
    name = _signer(envelope, root, at)
    if name != request.requester:
        raise SignatureError(f"its request names {request.requester} and is signed by {name}")


def _signer(envelope: Envelope, root: TrustRoot, at: int | None) -> str:
    try:
        person = statements.signer(envelope, root, at=at)
        statements.require_role(person, "requester")
    except SignatureError:
        left = [one for one in root.ended(envelope.keyid) if "requester" in one.roles and not one.revoked]
        if not left:
            raise
        dsse.check(envelope, left[0].key, PAYLOAD_TYPE)
        return left[0].owner
    return person.name
