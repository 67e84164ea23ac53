"""The overlay without privileges: in a user and mount namespace that a small process of ours holds open.

Its only user is the caller, so it gives nobody any right on the host. The process waits at a pipe: when we close it, or
die, it ends, and the namespace with all mounts ends with its last user. From the host, the files are seen through
`/proc/<process>/root`, by the caller and root alone.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agent_pipeline import process
from agent_pipeline.workspace import bounds
from agent_pipeline.workspace.places import FILES, LOWER, SPACE

TOOLS: Final = ("unshare", "mount", "nsenter")
_SECONDS: Final = 10
# Relative to the copy's directory: no character of a path has a meaning here, and what the sandbox reads of its mounts
# names none of the host's. $1 is the lower directory, $2 the size, $3 the overlay's options.
_HOLDER: Final = f"""
umask 022
mount --bind "$1" {LOWER}
mount -t tmpfs -o "$2,mode=0700,nosuid,nodev" agent-pipeline {SPACE}
mkdir {SPACE}/{bounds.UPPER} {SPACE}/{bounds.WORK}
layers=lowerdir={LOWER},upperdir={SPACE}/{bounds.UPPER},workdir={SPACE}/{bounds.WORK}
mount -t overlay -o "$layers,$3,nosuid,nodev" agent-pipeline {FILES}
echo ready
read -r done
"""


@contextmanager
def held(folder: Path, lower: Path, disk_mb: int) -> Iterator[int | None]:
    """Hold a namespace in which `folder` has the overlay on `lower`; hand out the process that holds it.

    None where this kernel or this host does not let an ordinary user do that.
    """
    if any(process.which(tool) is None for tool in TOOLS):
        yield None
        return
    for name in (LOWER, SPACE):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private"]
    script = ["sh", "-e", "-c", _HOLDER, "workspace-holder"]
    options = [str(lower), bounds.size_options(disk_mb), bounds.OPTIONS_OF_A_USER]
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    holder = process.spawn([*unshare, *script, *options], env=env, cwd=folder)
    assert holder.stdin is not None and holder.stdout is not None  # noqa: S101, PT018
    try:
        ready = _said_ready(holder.stdout.fileno()) and os.access(outside(holder.pid, folder / FILES), os.R_OK)
        yield holder.pid if ready else None
    finally:
        holder.stdin.close()
        holder.stdout.close()
        process.kill_group(holder)


def outside(holder: int, path: Path) -> Path:
    """Return how the host sees `path` of the namespace that the process `holder` holds."""
    return Path(f"/proc/{holder}/root{path.absolute()}")


def _said_ready(reader: int) -> bool:
    poller = select.poll()
    poller.register(reader, select.POLLIN)
    return bool(poller.poll(_SECONDS * 1000)) and os.read(reader, 64) == b"ready\n"
