"""Kill the host process, again and again, at any moment: nothing may be left, each time within five seconds."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
from test_sandbox_lifetime import Supervisor, assert_nothing_left, left

from agent_pipeline import clock
from agent_pipeline.config import Config
from agent_pipeline.sandbox import engines
from agent_pipeline.sandbox.contract import Image

pytestmark = [pytest.mark.containers, pytest.mark.soak]

KILLS = 100
LATEST = {"docker": 0.6, "bubblewrap": 0.25}  # seconds after it began to start: well into its first command


@pytest.mark.parametrize("name", engines.NAMES)
def test_a_hundred_kills_at_random_moments_leave_nothing(
    name: str, config: Config, image: Image, workspace: Path
) -> None:
    moments = random.Random()  # noqa: S311 - other moments each time
    names = []
    for number in range(KILLS):
        supervisor = Supervisor(name, image, workspace)
        names.append(supervisor.run)
        moment = moments.random() * LATEST[name]
        clock.sleep(moment)
        supervisor.end(signal.SIGKILL)
        try:
            assert_nothing_left(supervisor.run, config.runs)
        except AssertionError as error:
            raise AssertionError(f"kill {number}, after {moment:.4f} s") from error
    clock.sleep(5)  # the engine may have made a container for a client that was dead by then
    assert [thing for run in names for thing in left(run)] == []
