"""`copy`, `copy-growth`, `harvest`, `harvest-growth`: the virtual copy of 100,000 files, and what changed in it.

Root only, as the overlay is mounted on the host: elsewhere the figures would be those of another way to copy.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from agent_pipeline import process
from agent_pipeline.repository.clone import Clone
from agent_pipeline.sandbox.contract import UID
from agent_pipeline.workspace import Workspace, bounds, create, harvest
from benchmarks.measure import Result, in_turn
from benchmarks.repositories import LARGE, SMALL, project

_CHANGED = 20
_MEMORY_MB = 4096  # at most; a tree of 100,000 files takes about 500


class _Place:
    """A directory for repositories, worktrees, copies and the cache, in memory.

    A disk may take minutes to remove 100,000 files, which is not what is measured; writing them there is faster for git
    than on any disk.
    """

    def __init__(self, stack: ExitStack) -> None:
        if os.geteuid() != 0:
            sys.exit("the benchmarks of the virtual copy mount overlays: run them as root")
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agent-pipeline-bench-")))
        if not bounds.mount(self.folder, _MEMORY_MB, 4 * LARGE):
            sys.exit("the benchmarks of the virtual copy need a tmpfs of their own, and none can be mounted here")
        stack.callback(bounds.unmount, self.folder)

    @contextmanager
    def copied(self, clone: Clone) -> Iterator[Workspace]:
        with create(
            clone,
            clone.tree(clone.commit("HEAD")),
            may_read=lambda _: True,
            scope="all",
            lowers=self.folder / "lowers",
            parent=self.folder / "runs",
            disk_mb=64,
            uid=UID,
        ) as workspace:
            if workspace.mode != "overlay":
                sys.exit("this host mounts no overlay")
            yield workspace

    def copy(self, clone: Clone) -> None:
        """Make a copy, and remove it."""
        with self.copied(clone):
            pass

    def worktree(self, project: Path, name: str = "worktree") -> Path:
        """Check HEAD out once more, without a branch."""
        where = self.folder / name
        git(project, "worktree", "add", "--quiet", "--detach", str(where), "HEAD")
        return where


def git(folder: Path, *words: str) -> None:
    """Run git as its user would."""
    done = process.run(
        ["git", *words], env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"}, cwd=folder, timeout=600
    )
    if not done.ok:
        sys.exit(done.explain())


def copy() -> Result:
    """The second virtual copy of the large tree, made and removed, against `git worktree add` of it, made only."""
    with ExitStack() as stack:
        place = _Place(stack)
        top = place.folder / "large"
        clone = project(top, LARGE)
        return in_turn(
            "copy",
            partial(place.copy, clone),
            partial(place.worktree, top),
            peer_name="git worktree add",
            runs=3,
            between=partial(_forget, top, place.folder / "worktree"),
        )


def _forget(project: Path, worktree: Path) -> None:
    if worktree.exists():
        shutil.rmtree(worktree)
        git(project, "worktree", "prune")


def copy_growth() -> Result:
    """The second virtual copy of the large tree (ours) against that of a tree a hundred times smaller (peer)."""
    with ExitStack() as stack:
        place = _Place(stack)
        large, small = project(place.folder / "large", LARGE), project(place.folder / "small", SMALL)
        return in_turn(
            "copy-growth",
            partial(place.copy, large),
            partial(place.copy, small),
            peer_name=f"the same for {SMALL:,} files",
            runs=40,
        )


def read_changes() -> Result:
    """What changed: 20 of the large tree's files, read and compared by us, and found by `git status` in a worktree."""
    with ExitStack() as stack:
        place = _Place(stack)
        top = place.folder / "large"
        clone = project(top, LARGE)
        workspace = stack.enter_context(place.copied(clone))
        worktree = place.worktree(top)
        for changed in (workspace.path, worktree):
            _change(changed)

        status = partial(git, worktree, "status", "--porcelain", "--untracked-files=all")
        ours = partial(_read, clone, workspace)
        return in_turn("harvest", ours, status, peer_name="git status --porcelain", runs=20)


def read_changes_growth() -> Result:
    """What changed: the same 20 files of the large tree (ours), and of one a hundred times smaller (peer)."""
    with ExitStack() as stack:
        place = _Place(stack)
        sides = []
        for name, files in (("large", LARGE), ("small", SMALL)):
            clone = project(place.folder / name, files)
            workspace = stack.enter_context(place.copied(clone))
            _change(workspace.path, packages=1)
            sides.append(partial(_read, clone, workspace))
        return in_turn("harvest-growth", *sides, peer_name=f"the same in {SMALL:,} files", runs=40, inner=5)


def _read(clone: Clone, workspace: Workspace) -> None:
    found = harvest(clone, workspace, ignore=["*.pyc"], max_bytes=1 << 20, max_files=1000)
    if len(found.puts) + len(found.deletes) != _CHANGED:
        sys.exit("the harvest is not what was changed")


def _change(top: Path, packages: int = 100) -> None:
    """Edit twelve files all over the first `packages`, make four, remove four."""
    for number in range(12):
        file = top / f"package_{8 * number % packages:03}" / f"part_{number % 10}" / f"module_{number:02}.py"
        file.write_text(file.read_text() + "y = 1\n")
    for number in range(4):
        (top / f"package_{9 * number % packages:03}" / f"new_{number}.py").write_text("z = 1\n")
        (top / f"package_{7 * number % packages:03}" / f"part_{number}" / "module_91.py").unlink()


ALL: dict[str, Callable[[], Result]] = {
    "copy": copy,
    "copy-growth": copy_growth,
    "harvest": read_changes,
    "harvest-growth": read_changes_growth,
}
