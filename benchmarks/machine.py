"""What the figures were measured on: they are that machine's, ratios carry over."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from agent_pipeline import clock, process
from agent_pipeline.version import VERSION

_ASKED = {
    "git": ["git", "--version"],
    "docker": ["docker", "version", "--format", "{{.Server.Version}}"],
    "bubblewrap": ["bwrap", "--version"],
}


def facts() -> dict[str, object]:
    """Return the date, the processors, the kernel and the versions of what is measured against."""
    return {
        "date": clock.rfc3339(clock.now()),
        "agent-pipeline": VERSION,
        "processor": _processor(),
        "processors": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: _said(command) for name, command in _ASKED.items()},
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _said(command: list[str]) -> str | None:
    """Return the first line of what a program says of its version, None where it is not there."""
    if process.which(command[0]) is None:
        return None
    done = process.run(command, env=process.inherited("PATH", "HOME"))
    return (done.stdout.decode("utf-8", "replace").splitlines() or [""])[0]
