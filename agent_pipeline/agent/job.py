"""What one run is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent_pipeline.documents.policy import Policy
from agent_pipeline.documents.request import Request
from agent_pipeline.mediator.events import Sink, ignore


@dataclass(frozen=True, slots=True)
class Job:
    """What one run needs. `changed` lists the workspace's paths that differ from the base now, for the submission.

    `api_key` and `base_url` belong to `claude`, `recording` (a transcript's bytes) to `recorded`. `record` gets each
    line of the transcript as it is written, `watch` each event. `notes`, an event and a detail each, follow its header.
    """

    request: Request
    policy: Policy
    changed: Callable[[], tuple[str, ...]]
    api_key: str | None = None
    base_url: str | None = None
    recording: bytes | None = None
    watch: Sink = ignore
    record: Callable[[bytes], None] | None = None
    notes: tuple[tuple[str, str], ...] = ()
