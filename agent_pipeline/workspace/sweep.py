"""Removing the copies that runs left behind which were killed. A program: the watcher of `places` starts it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from agent_pipeline import clock
from agent_pipeline.errors import StorageError
from agent_pipeline.workspace import places

_TRIES: Final = 10
_PAUSE: Final = 0.5  # seconds; what still writes there dies within one


def main() -> int:
    """Sweep the directory that the first argument names."""
    for _ in range(_TRIES):
        try:
            places.sweep(Path(sys.argv[1]))
        except StorageError:
            clock.sleep(_PAUSE)
        else:
            return 0
    return 3  # nobody is listening any more; what stays is removed by the next run


if __name__ == "__main__":
    sys.exit(main())
