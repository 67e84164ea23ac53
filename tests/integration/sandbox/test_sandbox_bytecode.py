"""The frame agent's bytecode is what its source says: PID 1 runs the one, people read the other."""

from __future__ import annotations

import pytest

from agent_pipeline.documents.schema import data_folder
from agent_pipeline.sandbox import layout
from agent_pipeline.sandbox.contract import Sandbox

pytestmark = pytest.mark.containers

FOLDER = data_folder("sandbox_images") / "python"


def test_the_bytecode_is_the_sources(sandbox: Sandbox) -> None:
    for name in ("compile_agent.py", "frame_agent.py"):
        sandbox.write(name, (FOLDER / name).read_bytes())
    command = "python3 compile_agent.py <frame_agent.py >compiled && cmp compiled " + layout.AGENT[-1]
    assert sandbox.run(["sh", "-c", command], seconds=30).code == 0
    assert sandbox.read("compiled") == (FOLDER / "frame_agent.bytecode").read_bytes()
    assert sandbox.run(["cmp", "frame_agent.py", layout.AGENT[-1].removesuffix("c")], seconds=10).code == 0
