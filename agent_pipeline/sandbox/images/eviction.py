"""What unpacked images may take: a bounded number of trees, those that were not used for longest going first.

Everything here can be made again from the store in seconds. What a sandbox has mounted, and what was used within the
last day, stays. Images themselves are never removed by themselves: `agent-pipeline image rm` is a person's decision.
"""

from __future__ import annotations

import contextlib
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from agent_pipeline import clock
from agent_pipeline.config import Config
from agent_pipeline.sandbox.images import identity as identities
from agent_pipeline.sandbox.images import seal
from agent_pipeline.sandbox.images.store import Store, remove

KEPT: Final = 8
RECENT: Final = timedelta(days=1)


def evict(config: Config, but: Path) -> tuple[Path, ...]:
    """Remove trees beyond `KEPT`, and those whose image is gone, unless used lately; return which.

    Who calls has the turn. Raises `OSError`.
    """
    store, folder, now = Store(config), but.parent, clock.now()
    trees = sorted((path for path in folder.iterdir() if identities.is_digest(path.name)), key=last_used, reverse=True)
    gone = []
    for number, tree in enumerate(trees):
        unwanted = number >= KEPT or store.get(tree.name) is None
        if unwanted and tree != but and now - last_used(tree) > RECENT and not mounted(tree):
            drop(tree)
            gone.append(tree)
    return tuple(gone)


def last_used(tree: Path) -> datetime:
    """Return when a tree was last used, as its seal says; long ago where there is none."""
    try:
        return datetime.fromtimestamp(seal.path_of(tree).lstat().st_mtime, UTC)
    except OSError:
        return datetime.fromtimestamp(0, UTC)


def mounted(tree: Path) -> bool:
    """Whether some process that we can see has the tree mounted, as bubblewrap's sandboxes do."""
    for mounts in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            lines = mounts.read_text(errors="surrogateescape").splitlines()
            if any(tree.name in line.split(" ")[3].split("/") for line in lines):  # the mounted directory (proc(5))
                return True
        except OSError:
            continue  # it ended, or is another user's
    return False


def drop(tree: Path) -> None:
    """Take a tree away by one rename, under the name that the next unpacking sweeps if we die now. Raises `OSError`."""
    seal.path_of(tree).unlink(missing_ok=True)
    gone = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=tree.parent))
    with contextlib.suppress(FileNotFoundError):
        if not tree.is_symlink():
            tree.chmod(0o755)  # a directory that moves is written to: its `..` changes
        tree.rename(gone / "gone")
    remove(gone)
