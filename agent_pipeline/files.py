"""Writing a file whole or not at all: beside its place first, then there in one step.

What was there before stays until the new content is complete and on the disk; an interrupt, a full disk or a killed
process leaves the old file, or none.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def written_whole(path: Path, *, mode: int = 0o600, replace: bool = True) -> Iterator[BinaryIO]:
    """Yield a file to write; it becomes `path`, with `mode`, when the block ends, and is removed when that raises.

    The directory must be there. Raises `OSError`; without `replace`, `FileExistsError` when something is at `path`.
    """
    descriptor, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name[:100]}-")
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.chmod(mode)
        if replace:
            beside.replace(path)
        else:
            os.link(beside, path)  # unlike a rename it never replaces
    finally:
        beside.unlink(missing_ok=True)
