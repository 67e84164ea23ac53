"""Ctrl-C in the middle of a run, as a person does it: in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from support.messages_peer import MODEL, MessagesPeer, Pings, Reply, Scripted
from support.scripted import bash

from agent_pipeline import process
from agent_pipeline.documents import transcript

PROGRAM = """
import sys
from types import SimpleNamespace
from support.agent_cases import FILES, claude_job
from support.local_sandbox import LocalSandbox
from agent_pipeline import interrupts
from agent_pipeline.agent.run import run

lines = open(sys.argv[2], "wb", buffering=0)
with interrupts.heard(), LocalSandbox(FILES) as sandbox:
    print(sandbox.root, flush=True)
    job = claude_job(SimpleNamespace(url=sys.argv[1]), sandbox, record=lines.write)
    try:
        run(job, sandbox)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.parametrize(
    ("script", "during"), [([Pings(20)], "an answer"), ([Reply([bash("echo begun > /dev/null; sleep 20")])], "a tool")]
)
def test_an_interrupt_ends_the_run_and_its_transcript(tmp_path: Path, script: list[Scripted], during: str) -> None:
    place = tmp_path / "transcript.jsonl"
    root = Path(__file__).resolve().parents[3]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"}
    with MessagesPeer(script) as peer:
        child = process.spawn([sys.executable, "-c", PROGRAM, peer.url, str(place)], env=env)
        assert child.stdout is not None
        workspace = Path(child.stdout.readline().decode().strip())
        wanted = b'"type":"turn"' if during == "a tool" else b'"type":"header"'
        deadline = time.monotonic() + 20
        while not (peer.journal and place.exists() and wanted in place.read_bytes()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=10) == 130
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
    records = transcript.parse(place.read_bytes())
    assert records[-1]["outcome"] == "interrupted"
    assert records[0]["model"] == MODEL
    assert not workspace.exists()
