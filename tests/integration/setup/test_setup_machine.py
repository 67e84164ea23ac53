"""`make setup` on this machine and on machines that lack things; nothing is installed by these tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
NOWHERE = "unix:///nonexistent/docker.sock"


def setup(path: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run setup with nobody to ask, and with only the programs on `path`."""
    return subprocess.run(
        [sys.executable, ROOT / "ci" / "setup.py"],
        env={"PATH": path, "HOME": os.environ.get("HOME", "/"), "LC_ALL": "C.UTF-8", **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )


def programs(folder: Path, *names: str, **scripts: str) -> str:
    """A directory with only these programs of the machine, and these of our own."""
    folder.mkdir()
    for name in names:
        found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if found is not None:
            (folder / name).symlink_to(found)
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    return str(folder)


@pytest.mark.containers
def test_the_second_time_costs_nothing() -> None:
    assert setup(os.environ["PATH"]).returncode == 0
    began = time.monotonic()
    again = setup(os.environ["PATH"])
    assert time.monotonic() - began < 2
    assert "environment  unchanged" in again.stdout
    assert " is here" in again.stdout
    assert again.stdout.splitlines()[-1].startswith("setup: ready")


def test_what_is_missing_is_one_line_and_nothing_is_installed_unasked(tmp_path: Path) -> None:
    path = programs(
        tmp_path / "bin", "setpriv", "unshare", "ldconfig", **{"apt-get": f"touch {tmp_path}/installed; exit 1"}
    )
    done = setup(path, DOCKER_HOST=NOWHERE)
    assert done.returncode == 3
    stopped = done.stdout.splitlines()[-1]
    assert stopped.startswith("setup: stopped:")
    assert "docker.io" in stopped
    assert "bubblewrap" in stopped
    assert "apt-get install" in stopped
    assert not (tmp_path / "installed").exists()


def test_on_another_system_the_names_are_said(tmp_path: Path) -> None:
    done = setup(programs(tmp_path / "bin", "setpriv", "unshare", "ldconfig"), DOCKER_HOST=NOWHERE, CI="true")
    assert done.returncode == 3
    assert "needed and not here: docker.io, bubblewrap" in done.stdout


def test_an_installation_that_fails_says_why(tmp_path: Path) -> None:
    script = "echo E: Unable to locate package; exit 100"
    path = programs(tmp_path / "bin", "setpriv", "unshare", "ldconfig", **{"apt-get": script})
    done = setup(path, DOCKER_HOST=NOWHERE, SETUP="yes")
    assert done.returncode == 3
    if os.geteuid() == 0:
        assert "updating apt's lists first" in done.stdout
        assert "E: Unable to locate package" in done.stdout
    else:
        assert "as root: sudo apt-get install" in done.stdout


@pytest.mark.containers
def test_an_engine_that_does_not_start_is_said_and_bubblewrap_takes_its_place(tmp_path: Path) -> None:
    needed = ("setpriv", "unshare", "ldconfig", "bwrap", "mmdebstrap", "newuidmap")
    fails = "echo 'level=error msg=\"no storage driver works\"' >&2; exit 1"
    path = programs(tmp_path / "bin", *needed, dockerd=fails, systemctl=fails)
    done = setup(path, DOCKER_HOST=NOWHERE, CI="true")
    assert done.returncode == 0, done.stdout
    why = "the Docker engine does not start (level=error" if os.geteuid() == 0 else "no Docker engine answers"
    assert f"engine       bubblewrap: {why}" in done.stdout
    assert os.geteuid() != 0 or "no storage driver works" in done.stdout
