"""A tmpfs of fixed size around the copy, so that nothing written there can fill the host's disk. Root only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from agent_pipeline import clock, process
from agent_pipeline.errors import StorageError

_BYTES_PER_FILE: Final = 4096  # of the space beside the tree: what is made there may be as small as this on average
_LEAST: Final = 16_384
_TRIES: Final = 20
_PAUSE: Final = 0.1


def mount(folder: Path, disk_mb: int, files: int = 0) -> bool:
    """Mount a tmpfs of `disk_mb` MiB on `folder`, with room for `files` and as many more as the size allows.

    Return False where even root may not mount (in some containers).
    """
    inodes = 2 * files + max(_LEAST, (disk_mb << 20) // _BYTES_PER_FILE)
    options = f"size={disk_mb}m,nr_inodes={inodes},mode=0755,nosuid,nodev"
    done = process.run(
        ["mount", "-t", "tmpfs", "-o", options, "agent-pipeline", os.fspath(folder)], env=_environment(), timeout=30
    )
    return done.ok


def unmount(folder: Path) -> None:
    """Unmount `folder` if something is mounted there. Raises `StorageError` when the kernel does not let go of it.

    A container that just died can keep it busy for a moment; it is waited for.
    """
    if not os.path.ismount(folder):
        return
    for _ in range(_TRIES):
        done = process.run(["umount", "--", os.fspath(folder)], env=_environment(), timeout=30)
        if done.ok:
            return
        clock.sleep(_PAUSE)
    # Detached, it vanishes from the file system at once and from memory when its last user does.
    done = process.run(["umount", "--lazy", "--", os.fspath(folder)], env=_environment(), timeout=30)
    if not done.ok:
        raise StorageError(f"cannot unmount {folder}: {done.explain()}", hint=f"run `umount -l {folder}` as root")


def _environment() -> dict[str, str]:
    return {**process.inherited("PATH"), "LC_ALL": "C"}
