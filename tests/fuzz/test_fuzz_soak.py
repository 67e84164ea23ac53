"""Each reader of untrusted bytes, for a long time, guided by coverage, in a process with bounded memory and time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.targets import TARGETS

SECONDS = int(os.environ.get("AGENT_PIPELINE_FUZZ_SECONDS", "3600"))
HERE = Path(__file__).parent


@pytest.mark.soak
@pytest.mark.parametrize("name", list(TARGETS))
def test_nothing_falls(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", str(HERE / "drive.py"), name, str(tmp_path / name), str(SECONDS)],
        capture_output=True, text=True, errors="replace", check=False, timeout=SECONDS + 600, cwd=tmp_path,
    )  # fmt: skip
    fell = [path.name for path in tmp_path.glob(f"{name}-*")]
    assert (done.returncode, fell) == (0, []), f"keep it in tests/fuzz/found/{name}\n{done.stderr[-4000:]}"
    assert "stat::number_of_executed_units" in done.stderr, done.stderr[-4000:]
