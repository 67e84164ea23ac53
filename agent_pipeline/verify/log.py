"""What the shared log says about one request, by proof: the newest entry's signature, and the nodes below its `state`.

A verifier's time grows with what there is to say, and with the log by its logarithm.
"""

from __future__ import annotations

from agent_pipeline.attestation import log_entries, state_map
from agent_pipeline.attestation.log_entries import Signed
from agent_pipeline.documents import strict
from agent_pipeline.documents.log_entry import EVERYTHING, LogEntry
from agent_pipeline.documents.log_proof import LogProof
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.errors import RejectedError, SignatureError
from agent_pipeline.frozen import frozen

_OTHERS = "ask for the proof again; `agent-pipeline audit verify` says whether the log itself is whole"


@frozen
class CheckedLog:
    """There are `size` entries; `signed` are all those about the request and about everything, by index, that stand."""

    size: int
    signed: tuple[Signed, ...]

    @property
    def entries(self) -> tuple[LogEntry, ...]:
        """What they say."""
        return tuple(signed.entry for signed in self.signed)

    def until(self, index: int) -> CheckedLog:
        """Return what was said below `index`."""
        return CheckedLog(min(self.size, index), tuple(one for one in self.signed if one.entry.index < index))


def check_proof(proof: LogProof, root: TrustRoot, request: str) -> CheckedLog:
    """Return what the log says about `request` and about everything, once the proof holds.

    Raises `SignatureError`, `SchemaError`. Threats: an entry left out, put in, taken from another request or another
    repository's log, renumbered, or signed by somebody who may not say such a thing.
    """
    if proof.request != request:
        raise SignatureError(f"this is the log's proof about {proof.request}, not about {request}", hint=_OTHERS)
    envelope = proof.head_envelope
    if envelope is None:
        if proof.entries or proof.nodes:
            raise SignatureError("an empty log has no entries and no nodes", hint=_OTHERS)
        return CheckedLog(0, ())
    try:
        head = log_entries.read(envelope, root)
    except RejectedError as error:
        raise SignatureError(f"the newest entry of the log: {error.message}", hint=error.hint) from error
    if head.ended is not None:
        raise SignatureError(f"the newest entry of the log is void: {head.person}'s key had ended", hint=_OTHERS)
    items = _items(proof, head.entry)
    found = [_entry(data, item, root) for data, item in _paired(proof, items)]
    found += [head] if head.entry.about in (request, EVERYTHING) else []
    return CheckedLog(head.entry.index + 1, log_entries.standing(found))


def _items(proof: LogProof, head: LogEntry) -> list[tuple[str, state_map.Item]]:
    """Return what the signed map names about the request and about everything, by index."""
    nodes = {state_map.node_hash(data): data for data in proof.node_bytes}
    used: set[bytes] = set()

    def fetch(_prefix: str, wanted: bytes) -> bytes | None:
        used.add(wanted)
        return nodes.get(wanted)

    root = bytes.fromhex(head.state)
    keys = (proof.request, EVERYTHING)
    items = [(key, item) for key in keys for item in state_map.walk(fetch, root, key)[0]]
    if len(proof.nodes) != len(nodes) or used - {state_map.NOTHING} != nodes.keys():
        raise SignatureError("the log's proof holds nodes that prove nothing", hint=_OTHERS)
    if any(item.index >= head.index for _, item in items):
        raise SignatureError(f"the log's map names an entry that is not before entry {head.index}", hint=_OTHERS)
    return sorted(items, key=lambda one: one[1].index)


def _paired(proof: LogProof, items: list[tuple[str, state_map.Item]]) -> list[tuple[bytes, tuple[str, state_map.Item]]]:
    envelopes = proof.entry_envelopes
    if len(envelopes) != len(items):
        raise SignatureError(
            f"{len(items)} entries of the log are about {proof.request} or everything, but {len(envelopes)} are here",
            hint=_OTHERS,
        )
    return list(zip(envelopes, items, strict=True))


def _entry(data: bytes, named: tuple[str, state_map.Item], root: TrustRoot) -> Signed:
    key, item = named
    if strict.sha256(data) != item.digest:
        raise SignatureError(f"entry {item.index} of the log is not the one that its map names", hint=_OTHERS)
    try:
        signed = log_entries.read(data, root, item.index)
    except RejectedError as error:
        raise log_entries.named(item.index, error) from error
    said = (signed.entry.about, signed.entry.index, signed.entry.event)
    if said != (key, item.index, item.event):
        raise SignatureError(f"entry {item.index} of the log says something else than its map", hint=_OTHERS)
    return signed
