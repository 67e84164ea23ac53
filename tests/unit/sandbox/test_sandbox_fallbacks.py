"""What is told of a sandbox that did without something."""

from __future__ import annotations

from dataclasses import replace

from agent_pipeline.documents.provenance import SandboxFacts
from agent_pipeline.sandbox import fallbacks

WHOLE = SandboxFacts("docker", "28", "runc", "0" * 64, "1" * 64, "2" * 64, (), "overlay")


def test_nothing_is_told_of_a_sandbox_that_has_all() -> None:
    assert fallbacks.told(WHOLE) == ()


def test_each_fallback_is_told() -> None:
    assert "full one" in fallbacks.told(replace(WHOLE, workspace="copy"))[0]
    assert "archive" in fallbacks.told(replace(WHOLE, workspace="archive"))[0]
    assert "memory, swap" in fallbacks.told(replace(WHOLE, unenforced=("memory", "swap")))[0]
    assert len(fallbacks.told(replace(WHOLE, workspace="copy", unenforced=("disk",)))) == 2
