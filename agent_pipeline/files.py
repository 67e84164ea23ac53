"""Writing a file whole or not at all: beside its place first, then there in one step.

What was there before stays until the new content is complete and on the disk; an interrupt, a full disk or a killed
process leaves the old file, or none. What a killed process left beside it goes when the same file is next written.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from agent_pipeline import temporary

_LETTERS: Final = 50  # of the name: four bytes each, and what is added to them, are no longer than a name may be


@contextlib.contextmanager
def written_whole(path: Path, *, mode: int = 0o600, replace: bool = True) -> Iterator[BinaryIO]:
    """Yield a file to write; it becomes `path`, with `mode`, when the block ends, and is removed when that raises.

    The directory must be there. Raises `OSError`; without `replace`, `FileExistsError` when something is at `path`.
    """
    beside = temporary.file(path.absolute().parent, f".{path.name[:_LETTERS]}-")
    try:
        with os.fdopen(beside.descriptor, "wb", closefd=False) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.path.chmod(mode)
        if replace:
            beside.path.replace(path)
        else:
            os.link(beside.path, path)  # unlike a rename it never replaces
    finally:
        beside.remove()
