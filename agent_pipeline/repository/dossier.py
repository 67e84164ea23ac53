"""One proposal's record read as documents: bytes as they are, and what they say.

Reading is not believing: nothing here verifies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent_pipeline.documents import strict, transcript
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.proposal import Proposal
from agent_pipeline.documents.provenance import Provenance
from agent_pipeline.documents.request import Request
from agent_pipeline.documents.statement import Statement
from agent_pipeline.errors import SchemaError, UsageError
from agent_pipeline.repository.records import Record

REQUEST_FILE = "request.dsse.json"
PROVENANCE, TEST_RESULT, SUMMARY, APPROVAL, MERGE, CLOSURE = (
    "provenance",
    "test-result",
    "summary",
    "approval",
    "merge",
    "closure",
)
RUN_REPORT, REPLAY_REPORT, VERIFICATION_REPORT = "run.json", "replay.json", "verification.json"


def attestation_path(number: int, kind: str, envelope: bytes) -> str:
    """Return where an envelope of `kind` lies in a record: its own digest keeps two of one kind apart."""
    return f"{number}/attestations/{kind}.{strict.sha256(envelope)[:16]}.dsse.json"


def report_path(number: int, name: str) -> str:
    """Return where a report lies in a record. Reports are for people; no decision reads them."""
    return f"{number}/reports/{name}"


def closure_path(envelope: bytes) -> str:
    """Return where a closure lies in a record."""
    return f"{CLOSURE}.{strict.sha256(envelope)[:16]}.dsse.json"


@dataclass(frozen=True, slots=True)
class Dossier:
    """The documents of proposal `number` of a request. Envelopes are bytes as found; `of(kind)` lists them."""

    record: Record
    number: int
    request_envelope: bytes
    request: Request
    manifest: bytes
    proposal: Proposal
    provenance_envelope: bytes
    provenance: Provenance
    statement: str
    transcript: bytes
    attestations: dict[str, bytes]
    carrier: str | None

    @property
    def name(self) -> str:
        """`ID.n`."""
        return f"{self.record.id}.{self.number}"

    def of(self, kind: str) -> tuple[bytes, ...]:
        """Return all envelopes of one kind, in the order of their names."""
        return tuple(data for name, data in sorted(self.attestations.items()) if name.startswith(f"{kind}."))


def read_request(record: Record) -> tuple[bytes, Request]:
    """Return the request's envelope and what it says. Raises `SchemaError`; what is too large is not read."""
    size = record.size(REQUEST_FILE)
    if size is not None and size > strict.MAX_BYTES:
        raise SchemaError(f"its {REQUEST_FILE} has more than {strict.MAX_BYTES} bytes")
    data = record.read(REQUEST_FILE)
    if data is None:
        raise SchemaError(f"the record of {record.id} has no {REQUEST_FILE}")
    return data, Request.from_statement(Statement.from_json(Envelope.from_json(data).payload))


def runs(record: Record) -> tuple[int, ...]:
    """Return the numbers of all runs in the record, those without a proposal too, in order."""
    found = {path.partition("/")[0] for path in record.files() if "/" in path}
    return tuple(sorted(int(number) for number in found if re.fullmatch(r"[1-9][0-9]{0,5}", number)))


def latest(record: Record) -> int | None:
    """Return the newest proposal's number that has a provenance, or None."""
    files = frozenset(record.files())
    return max((number for number in _vouched(files) if f"{number}/proposal.json" in files), default=None)


def _vouched(files: frozenset[str]) -> set[int]:
    """Return the numbers that have a provenance among these paths of a record."""
    found = (re.fullmatch(rf"([1-9][0-9]{{0,5}})/attestations/{PROVENANCE}\.[^/]+\.dsse\.json", path) for path in files)
    return {int(match[1]) for match in found if match is not None}


def statement_of(record: Record, number: int) -> str | None:
    """Return the digest by which the log names proposal `number`; None when its provenance cannot be read."""
    found = list(record.envelopes(f"{number}/attestations/{PROVENANCE}.").values())
    try:
        return strict.sha256(Envelope.from_json(found[0]).payload) if len(found) == 1 else None
    except SchemaError:
        return None


def without_manifest(record: Record) -> int | None:
    """Return the newest proposal's number that has a provenance and no manifest: somebody took it out. Else None."""
    files = frozenset(record.files())
    return max((number for number in _vouched(files) if f"{number}/proposal.json" not in files), default=None)


def lost(record: Record, path: str) -> SchemaError:
    """Return the error about a document that was in the record once."""
    return SchemaError(
        f"the record of {record.id} lacks {path}: records only grow, so somebody took it out",
        hint="fetch again (without --no-push), or restore the ref from another clone; `agent-pipeline audit verify` "
        "says what the log knows of it. What nobody has any more is asked for again: agent-pipeline request ...",
    )


def open_dossier(record: Record, number: int | None = None) -> Dossier:
    """Read proposal `number` (the newest when None).

    Raises `UsageError` when there is none, `SchemaError` when something of it is gone or has another form.
    """
    number = number or latest(record)
    if number is None or number not in record.proposals():
        raise _absent(record, number)
    attestations = record.attestations(number)
    provenances = [data for name, data in attestations.items() if name.startswith(f"{PROVENANCE}.")]
    if len(provenances) != 1:
        raise SchemaError(f"{record.id}.{number} has {len(provenances)} provenance statements; exactly one is expected")
    request_envelope, request = read_request(record)
    statement = Statement.from_json(Envelope.from_json(provenances[0]).payload)
    manifest = _need(record, f"{number}/proposal.json")
    return Dossier(
        record=record,
        number=number,
        request_envelope=request_envelope,
        request=request,
        manifest=manifest,
        proposal=Proposal.from_json(manifest),
        provenance_envelope=provenances[0],
        provenance=Provenance.from_statement(statement),
        statement=strict.sha256(Envelope.from_json(provenances[0]).payload),
        transcript=_need(record, f"{number}/transcript.jsonl"),
        attestations=attestations,
        carrier=record.carrier(number),
    )


def _absent(record: Record, number: int | None) -> UsageError | SchemaError:
    if number is not None and number in _vouched(frozenset(record.files())):
        return lost(record, f"{number}/proposal.json")
    whole = ", ".join(f"{record.id}.{one}" for one in record.proposals())
    hint = f"these are there: {whole}" if whole else f"`agent-pipeline show {record.id}` says what became of it"
    return UsageError(f"{record.id} has no {'such proposal' if number else 'proposal yet'}", hint=hint)


def _need(record: Record, path: str) -> bytes:
    data = record.read(path)
    if data is None:
        raise lost(record, path)
    if len(data) > transcript.MAX_BYTES:
        raise SchemaError(f"the record of {record.id} has no usable {path}")
    return data


def closures(record: Record) -> tuple[bytes, ...]:
    """Return the envelopes that claim to close the request."""
    return tuple(data for _, data in sorted(record.envelopes(f"{CLOSURE}.").items()))
