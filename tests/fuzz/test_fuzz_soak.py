"""Each reader of untrusted bytes, for a long time, guided by coverage, in a process with bounded memory and time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from fuzz.targets import TARGETS

SECONDS = int(os.environ.get("AGENT_PIPELINE_FUZZ_SECONDS", "3600"))
HERE = Path(__file__).parent
Run = tuple[subprocess.CompletedProcess[str], list[str]]


def fuzz(name: str, folder: Path) -> Run:
    """Let one target run its time; return how that ended, and what fell."""
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-P", str(HERE / "drive.py"), name, str(folder / name), str(SECONDS)],
        capture_output=True, text=True, errors="replace", check=False, timeout=SECONDS + 600, cwd=folder,
    )  # fmt: skip
    return done, [path.name for path in folder.glob(f"{name}-*")]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Run]]]:
    """All targets that were chosen, as many at a time as there are cores."""
    found = (item for item in request.session.items if isinstance(item, pytest.Function))
    chosen = [item.callspec.params["name"] for item in found if item.function is test_nothing_falls]
    top = tmp_path_factory.mktemp("fuzz")
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    try:
        yield {name: pool.submit(fuzz, name, top / name) for name in chosen}
    finally:
        pool.shutdown(cancel_futures=True)


@pytest.mark.soak
@pytest.mark.parametrize("name", list(TARGETS))
def test_nothing_falls(name: str, runs: dict[str, Future[Run]]) -> None:
    done, fell = runs[name].result()
    assert (done.returncode, fell) == (0, []), f"keep it in tests/fuzz/found/{name}\n{done.stderr[-4000:]}"
    assert "stat::number_of_executed_units" in done.stderr, done.stderr[-4000:]
