"""The documents of one proposal, read strictly and once. What cannot be read is an error of its own, kept by name.

Read is not believed: signatures, roles and bindings are steps of the verifier.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, TypeVar

from agent_pipeline import policy as policies
from agent_pipeline.attestation import statements
from agent_pipeline.documents import strict, transcript
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.policy import Policy
from agent_pipeline.documents.proposal import Proposal
from agent_pipeline.documents.provenance import Provenance
from agent_pipeline.documents.request import Request, id_of
from agent_pipeline.documents.root import Person
from agent_pipeline.documents.statement import Statement
from agent_pipeline.errors import RejectedError, SignatureError
from agent_pipeline.verify.inputs import Inputs
from agent_pipeline.verify.log import CheckedLog, check_proof
from agent_pipeline.verify.steps import Skip

REQUEST, PROVENANCE = "request's envelope", "provenance's envelope"
T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """`inputs`, and whatever of it could be read: `found` by name, `errors` by name.

    `signers` holds who signed which envelope, or why nobody did, and `digests` what bytes are named by: asked by many
    steps, found out once.
    """

    inputs: Inputs
    found: dict[str, Any]
    errors: dict[str, str]
    signers: dict[str, Person | SignatureError] = field(default_factory=dict)
    digests: dict[bytes, str] = field(default_factory=dict)

    def sha256(self, data: bytes) -> str:
        """Return the SHA-256 of bytes that are part of the inputs, hexadecimal."""
        return self.digests.get(data) or self.digests.setdefault(data, strict.sha256(data))

    def signer(self, name: str) -> Person:
        """Return who signed `REQUEST` or `PROVENANCE`, by the log's place for it. Raises `Skip`, `SignatureError`."""
        if name not in self.signers:
            envelope: Envelope = self._get(name)
            data = self.inputs.request_envelope if name == REQUEST else self.inputs.provenance_envelope
            try:
                self.signers[name] = statements.signer(envelope, self.inputs.root, at=self.logged(data))
            except SignatureError as error:
                self.signers[name] = error
        found = self.signers[name]
        if isinstance(found, SignatureError):
            raise found
        return found

    def _get(self, name: str) -> Any:  # noqa: ANN401 - the typed methods below say what
        if name not in self.found:
            raise Skip(f"not looked at: the {name} could not be read")
        return self.found[name]

    @cached_property
    def request(self) -> Request:
        """The request. Raises `Skip` when it could not be read; so do all of these."""
        value: Request = self._get("request")
        return value

    @cached_property
    def request_id(self) -> str:
        """The request's id, computed from its content."""
        value: str = self._get("request's id")
        return value

    @cached_property
    def request_envelope(self) -> Envelope:
        """The request's envelope."""
        value: Envelope = self._get(REQUEST)
        return value

    @cached_property
    def request_statement(self) -> Statement:
        """The request's statement."""
        value: Statement = self._get("request's statement")
        return value

    @cached_property
    def provenance(self) -> Provenance:
        """The provenance."""
        value: Provenance = self._get("provenance")
        return value

    @cached_property
    def provenance_envelope(self) -> Envelope:
        """The provenance's envelope."""
        value: Envelope = self._get(PROVENANCE)
        return value

    @cached_property
    def statement(self) -> Statement:
        """The provenance statement."""
        value: Statement = self._get("provenance's statement")
        return value

    @cached_property
    def proposal(self) -> Proposal:
        """The manifest."""
        value: Proposal = self._get("manifest")
        return value

    @cached_property
    def policy(self) -> Policy:
        """The landed policy."""
        value: Policy = self._get("policy")
        return value

    @cached_property
    def transcript(self) -> list[dict[str, Any]]:
        """The transcript's records."""
        value: list[dict[str, Any]] = self._get("transcript")
        return value

    @cached_property
    def log(self) -> tuple[LogEntry, ...]:
        """The entries of the shared log about this request and about everything, by index: all that stand."""
        return self.checked_log.entries

    @cached_property
    def checked_log(self) -> CheckedLog:
        """What the shared log says about this request and about everything, by a proof that holds."""
        value: CheckedLog = self._get("log")
        before = self.inputs.before
        return value if before is None else value.until(before)

    def logged(self, envelope: bytes) -> int | None:
        """The index of the first entry of the log that names `envelope`, None when none does (or none can be read)."""
        index: int | None = self.found.get("log's names", {}).get(self.sha256(envelope))
        return index

    @cached_property
    def identity(self) -> str:
        """The proposal's identity: the SHA-256 of the statement, or of what stands in its place and cannot be read."""
        envelope = self.found.get(PROVENANCE)
        return self.sha256(envelope.payload if envelope is not None else self.inputs.provenance_envelope)


def read(inputs: Inputs) -> Case:
    """Read everything that `inputs` holds."""
    case = Case(inputs, {}, {})
    _try(case, "log", lambda: check_proof(inputs.log, inputs.root, inputs.request))
    _try(case, "log's names", lambda: _names(case))
    _try(case, REQUEST, lambda: Envelope.from_json(inputs.request_envelope))
    _try(case, "request's statement", lambda: Statement.from_json(case.request_envelope.payload))
    _try(case, "request", lambda: Request.from_statement(case.request_statement))
    _try(case, "request's id", lambda: _request_id(case))
    _try(case, PROVENANCE, lambda: Envelope.from_json(inputs.provenance_envelope))
    _try(case, "provenance's statement", lambda: Statement.from_json(case.provenance_envelope.payload))
    _try(case, "provenance", lambda: Provenance.from_statement(case.statement))
    _try(case, "manifest", lambda: Proposal.from_json(inputs.manifest))
    _try(case, "policy", lambda: _policy(inputs.policy_bytes))
    _try(case, "transcript", lambda: _transcript(case))
    return case


def _request_id(case: Case) -> str:
    """Return the id that follows from the statement's subject, once the request is known to be that subject."""
    _ = case.request  # raises `Skip` when it could not be read
    return id_of(case.request_statement.sha256)


def _names(case: Case) -> dict[str, int]:
    """Return for every envelope that the log names the first entry that does."""
    found: dict[str, int] = {}
    checked: CheckedLog = case._get("log")  # noqa: SLF001 - our own
    for entry in checked.entries:  # what was logged later was still signed by whoever it says
        for digest in entry.envelopes:
            found.setdefault(digest, entry.index)
    return found


def _transcript(case: Case) -> list[dict[str, Any]]:
    """Read the transcript, which takes long when somebody made it for that: only one that a runner vouches for."""
    try:
        statements.require_role(case.signer(PROVENANCE), "runner")
    except SignatureError as error:
        raise Skip("not looked at: no runner vouches for it") from error
    return transcript.parse(case.inputs.transcript)


@lru_cache(maxsize=8)
def _policy(data: bytes) -> Policy:
    """Read a policy; many proposals are judged by the same one, and YAML takes longer than all the rest."""
    return policies.load(data)


def _try(case: Case, name: str, reader: Callable[[], T]) -> None:
    try:
        case.found[name] = reader()
    except Skip:
        return  # what it is made of could not be read, which is said already
    except RejectedError as error:
        case.errors[name] = error.message
