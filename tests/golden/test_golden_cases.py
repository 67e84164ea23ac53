"""Golden data is what the code makes, byte for byte where nothing of the machine is in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.bundles import Shared, proven
from support.trust import Maker

from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.provenance import Provenance
from agent_pipeline.documents.statement import Statement
from agent_pipeline.verify.verifier import verify

GOLDEN = Path(__file__).parents[2] / "golden"
HOW = "look at why it differs, then run `python golden/regenerate.py`"


def test_the_accepted_case_is_made_again_byte_for_byte() -> None:
    inputs = Maker().inputs()
    case = GOLDEN / "accepted"
    assert (case / "request.dsse.json").read_bytes() == inputs.request_envelope, HOW
    assert (case / "proposal.json").read_bytes() == inputs.manifest, HOW
    assert (case / "provenance.dsse.json").read_bytes() == inputs.provenance_envelope, HOW
    assert (case / "transcript.jsonl").read_bytes() == inputs.transcript, HOW
    assert (case / "verification.json").read_bytes() == verify(inputs).to_json(), HOW


def test_the_merged_bundle_is_made_again_byte_for_byte_and_proves_the_same(tmp_path: Path) -> None:
    case = GOLDEN / "merged"
    shared = Shared.make(tmp_path / "repository", "merged")
    assert (case / "merged.agentpatch").read_bytes() == shared.data, HOW
    assert (case / "root").read_text() == f"{shared.root}\n", HOW
    decision = proven((case / "merged.agentpatch").read_bytes(), shared.root).decision
    assert (case / "verification.json").read_bytes() == decision.to_json(), HOW


def test_the_accepted_provenance_reads_and_writes_to_the_same_bytes() -> None:
    envelope = Envelope.from_json((GOLDEN / "accepted" / "provenance.dsse.json").read_bytes())
    statement = Statement.from_json(envelope.payload)
    assert Provenance.from_statement(statement).to_statement(statement.sha256).to_json() == envelope.payload


@pytest.mark.containers
def test_the_demos_recording_is_what_its_turns_give() -> None:
    command = [sys.executable, str(GOLDEN / "regenerate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
