"""The shared log in a bundle, and out of one."""

from __future__ import annotations

from dataclasses import dataclass

from agent_pipeline.audit import high_water
from agent_pipeline.audit import log as audit_log
from agent_pipeline.documents.bundle import Bundle
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.repository.landed import Desk
from agent_pipeline.verify.log import check_log


@dataclass(frozen=True, slots=True)
class Told:
    """What the log says about a request, and the contents of a bundle that prove it."""

    entries: tuple[LogEntry, ...]
    contents: dict[str, bytes]


def read(desk: Desk, request: str) -> Told:
    """Return what the log says about `request`. Raises `SignatureError` when it does not hold."""
    log = audit_log.read(desk.clone, desk.remote)
    high_water.check(desk, log)
    entries = check_log(log.envelopes, desk.landed.root)
    about = tuple(entry for entry in entries if entry.request == request)
    return Told(about, {f"log/{index:08d}.dsse.json": data for index, data in enumerate(log.envelopes)})


def carried(bundle: Bundle) -> tuple[bytes, ...]:
    """Return the log that a bundle brought, as the verifier wants it."""
    return tuple(bundle.below("log").values())
