"""Runs that are going on here, by a lock that lives as long as its process."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agent_pipeline import config as configuration
from agent_pipeline import process
from agent_pipeline.audit import events, leases
from agent_pipeline.config import Config
from agent_pipeline.errors import StaleError, StorageError

REQUEST = "a" * 16
HOLD = """
import sys, time, dataclasses, pathlib, signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as the command line hears it
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a script's background jobs have it
from agent_pipeline import config
from agent_pipeline.audit import leases
here = dataclasses.replace(config.load(), state_dir=pathlib.Path(sys.argv[1]))
with leases.held(here, sys.argv[2]):
    print("held", flush=True)
    time.sleep(30)
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return replace(configuration.load(), state_dir=tmp_path / "state")


def test_a_run_is_noted_and_leaves_nothing(config: Config) -> None:
    with leases.held(config, REQUEST):
        assert (config.state_dir / "running" / REQUEST).read_text(encoding="ascii") == str(os.getpid())
    assert list((config.state_dir / "running").iterdir()) == []
    assert [(event["stage"], event["event"]) for event in events.tail(config, 9)] == [
        ("run", "started"),
        ("run", "ended"),
    ]


def test_one_run_of_a_request_at_a_time_and_another_s_lease_stays_whole(config: Config) -> None:
    with leases.held(config, REQUEST):
        with pytest.raises(StaleError, match="already"), leases.held(config, REQUEST):
            pass
        assert (config.state_dir / "running" / REQUEST).read_text(encoding="ascii") == str(os.getpid())
        with leases.held(config, "b" * 16):
            pass
    with leases.held(config, REQUEST):
        pass


def test_a_lease_that_cannot_be_written(config: Config) -> None:
    config.state_dir.mkdir()
    (config.state_dir / "running").write_bytes(b"")
    with pytest.raises(StorageError), leases.held(config, REQUEST):
        pass


def test_nothing_to_interrupt(config: Config) -> None:
    assert not leases.interrupt(config, REQUEST)
    (config.state_dir / "running").mkdir(parents=True)
    (config.state_dir / "running" / REQUEST).write_text(str(os.getpid()), encoding="ascii")
    assert not leases.interrupt(config, REQUEST)  # nobody holds it: its process is gone, whoever has its number now


def test_a_run_in_another_process_is_interrupted(config: Config) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(leases.__file__).parents[2]),
        "HOME": "/nonexistent",
    }
    started = process.spawn([sys.executable, "-c", HOLD, str(config.state_dir), REQUEST], env=environment)
    try:
        assert started.stdout is not None
        assert started.stdout.readline() == b"held\n"
        with pytest.raises(StaleError), leases.held(config, REQUEST):
            pass
        assert leases.interrupt(config, REQUEST)
        deadline = time.monotonic() + 10
        while started.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert started.returncode == 1
    finally:
        process.kill_group(started)
        for pipe in (started.stdin, started.stdout):
            if pipe is not None:
                pipe.close()
    assert not (config.state_dir / "running" / REQUEST).exists()
