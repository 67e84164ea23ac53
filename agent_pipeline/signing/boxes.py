"""Secrets that a process hands on without reading them: anonymous files in memory, known by their descriptor.

The process that talks to a model holds such a descriptor and no bytes; signing children inherit it, read it and, for a
passphrase that somebody typed, fill it, so that one command asks once. A box has no name in any file system, is in no
environment, and is gone with the last process that holds it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 64 * 1024
_NAME: Final = "agent-pipeline-secret"


def new(data: bytes = b"") -> int:
    """Return the descriptor of a new box that holds `data`; programs that are started do not inherit it."""
    handle = os.memfd_create(_NAME, os.MFD_CLOEXEC)
    put(handle, data)
    return handle


def put(handle: int, data: bytes) -> None:
    """Let the box hold `data` and nothing else."""
    os.ftruncate(handle, 0)
    os.pwrite(handle, data, 0)


def get(handle: int) -> bytes:
    """Return what the box holds; nothing, as long as nobody filled it."""
    return os.pread(handle, MAX_BYTES, 0)


def is_box(handle: int) -> bool:
    """Whether the descriptor is that of a box, and of nothing else that happens to be open."""
    try:
        return str(Path(f"/proc/self/fd/{handle}").readlink()).startswith(f"/memfd:{_NAME} ")
    except OSError:
        return False
