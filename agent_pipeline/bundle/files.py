"""Bundles on the disk: read with a bound, written whole or not at all, never over something else by accident."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from agent_pipeline.documents.bundle import MAX_BYTES
from agent_pipeline.errors import SchemaError, StorageError, UsageError
from agent_pipeline.files import written_whole


def read(file: Path) -> bytes:
    """Return what is in `file`. Raises `UsageError` when it cannot be read, `SchemaError` for more than any bundle."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not hold us up
        with os.fdopen(handle, "rb") as source:
            facts = os.fstat(source.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise UsageError(f"{file} is no ordinary file", hint="copy what it gives into a file first")
            data = source.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}", hint="give the path of a bundle") from error
    if len(data) > MAX_BYTES:
        raise SchemaError(f"{file} has more than {MAX_BYTES} bytes", hint="no bundle is that large; refuse it")
    return data


def write(file: Path, data: bytes, *, force: bool) -> None:
    """Write `file` whole. Raises `UsageError` when something is there (unless `force`), `StorageError`."""
    try:
        with written_whole(file, mode=0o644, replace=force) as target:
            target.write(data)
    except FileExistsError as error:
        raise UsageError(f"{file} is there already", hint="`--force` replaces it, or choose another name") from error
    except OSError as error:
        raise StorageError(
            f"{file} cannot be written: {error.strerror}", hint="make room or choose another directory, then try again"
        ) from error
