"""Going on in the background: the command line returns, the run stays, its talk goes to a file."""

from __future__ import annotations

import os
import sys

from agent_pipeline.config import Config


def detach(config: Config, request: str) -> bool:
    """Fork. Return True in the process that answers the person, False in the one that goes on with the run."""
    folder = config.state_dir / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        return True
    os.setsid()
    log = os.open(folder / f"{request}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    return False
