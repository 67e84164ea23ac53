"""This machine's own event log: one JSON line for each thing that a stage did, for people who ask what happened here.

It decides nothing and is shared with nobody. Values are short names, ids and numbers, cut to a length; words of a
model, contents of files and keys have no place in it, and a value that looks like a secret is left out.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from pathlib import Path
from typing import Any, Final

from agent_pipeline import clock
from agent_pipeline.config import Config
from agent_pipeline.errors import StorageError

MAX_VALUE: Final = 400
ROTATE_BYTES: Final = 16 << 20
_SECRET: Final = re.compile(
    r"-----BEGIN|sk-ant-|gh[opsur]_[A-Za-z0-9]{20}|github_pat_|glpat-|AKIA[0-9A-Z]{16}|xox[abprs]-|[a-z+]+://[^/\s:@]+:[^/\s@]+@"
)
_LEFT_OUT: Final = "[left out: looks like a secret]"


def path(config: Config) -> Path:
    """Return where the log lies; the previous one lies beside it as `events.jsonl.1`."""
    return config.state_dir / "events.jsonl"


def record(config: Config, stage: str, event: str, request: str | None = None, **detail: str | int) -> None:
    """Append one line. Raises `StorageError` when it cannot be written: a machine that cannot log does not go on."""
    line: dict[str, Any] = {"time": clock.rfc3339(clock.now()), "pid": os.getpid(), "stage": stage, "event": event}
    line |= {} if request is None else {"request": request}
    line |= {name: _plain(value) for name, value in detail.items()}
    try:
        _append(path(config), json.dumps(line, ensure_ascii=True).encode() + b"\n")
    except OSError as error:
        raise StorageError(f"the event log {path(config)} cannot be written: {error.strerror}") from error


def _plain(value: str | int) -> str | int:
    if isinstance(value, int):
        return value
    return _LEFT_OUT if _SECRET.search(value) else value[:MAX_VALUE]


def _append(file: Path, line: bytes) -> None:
    """Write the whole line or raise; processes take turns, and a file that grew too large becomes the previous one."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    turn = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if file.exists() and file.stat().st_size > ROTATE_BYTES:
            file.replace(file.with_name(f"{file.name}.1"))
        handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(line)
    finally:
        os.close(turn)


def tail(config: Config, count: int) -> list[dict[str, Any]]:
    """Return the newest `count` events, oldest first; lines that cannot be read are left out."""
    found: list[dict[str, Any]] = []
    for file in (path(config).with_name("events.jsonl.1"), path(config)):
        for line in file.read_bytes().splitlines()[-count:] if file.exists() else ():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue  # a crash cut it short
    return found[-count:]
