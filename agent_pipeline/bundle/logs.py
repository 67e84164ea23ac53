"""The shared log in a bundle, and out of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent_pipeline.audit import high_water
from agent_pipeline.documents.bundle import Bundle
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.log_proof import LogProof
from agent_pipeline.errors import SchemaError
from agent_pipeline.repository.landed import Desk
from agent_pipeline.verify.log import check_proof

_NAME: Final = "log/proof.json"


@dataclass(frozen=True, slots=True)
class Told:
    """What the log says about a request, and the contents of a bundle that prove it."""

    entries: tuple[LogEntry, ...]
    contents: dict[str, bytes]


def read(desk: Desk, request: str) -> Told:
    """Return what the log says about `request`. Raises `SignatureError` when it does not hold."""
    proof = high_water.open_log(desk).prove(request)
    entries = check_proof(proof, desk.landed.root, request).entries
    return Told(tuple(entry for entry in entries if entry.request == request), {_NAME: proof.to_json()})


def carried(bundle: Bundle) -> LogProof:
    """Return what the log says by a bundle, as the verifier wants it. Raises `SchemaError` when it brings no proof."""
    data = bundle.contents.get(_NAME)
    if data is None:
        raise SchemaError(f"the bundle has no {_NAME}", hint="export it again with `agent-pipeline bundle export`")
    proof = LogProof.from_json(data)
    if proof.to_json() != data:
        raise SchemaError(f"{_NAME} in the bundle is not in canonical form", hint="refuse it")
    return proof
