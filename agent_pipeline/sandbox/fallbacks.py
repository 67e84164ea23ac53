"""What a sandbox did without: told when it starts, and in its facts for good. Never a silent fallback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agent_pipeline.documents.provenance import SandboxFacts

_WORDS: Final[Mapping[str, str]] = {
    "copy": "the copy is a full one, made file by file: no overlay of ours reaches this engine here",
    "archive": "the engine does not see this host's files: the copy goes there as an archive, and comes back as one",
}


def told(facts: SandboxFacts) -> tuple[str, ...]:
    """Return one line for each thing that is not as it should be, for people."""
    lines = [_WORDS[facts.workspace]] if facts.workspace in _WORDS else []
    if facts.unenforced:
        lines.append(f"not enforced by this host: {', '.join(facts.unenforced)}; the provenance says so")
    return tuple(lines)
