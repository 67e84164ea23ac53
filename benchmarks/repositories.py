"""Repositories of many small files, and what a verifier does in one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from agent_pipeline import clock, process
from agent_pipeline.repository import fresh, records, trees
from agent_pipeline.repository.clone import Clone

LARGE, SMALL = 100_000, 1_000
_IN_A_FOLDER = 100


def project(folder: Path, files: int) -> Clone:
    """Make a repository with `files` small files, a hundred in a directory, and ten directories in each of those.

    They are in one pack, as in a clone, and not checked out: writing 100,000 files takes minutes, and nobody reads
    them there.
    """
    fresh.initialise(folder, "Bench", "bench@example.org")
    moment = int(clock.now().timestamp())
    stream = [b"commit refs/heads/main\ncommitter Bench <bench@example.org> %d +0000\ndata 11\nMany files\n" % moment]
    for number in range(files):
        path = f"package_{number // (10 * _IN_A_FOLDER):03}/part_{number // _IN_A_FOLDER % 10}"
        text = f"x = {number}\n" + "# a line\n" * 20
        name = f"{path}/module_{number % _IN_A_FOLDER:02}.py"
        stream.append(f"M 100644 inline {name}\ndata {len(text)}\n{text}\n".encode())
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    done = process.run(["git", "fast-import", "--quiet"], env=env, cwd=folder, stdin=b"".join(stream), timeout=600)
    assert done.ok, done.explain()
    return Clone.discover(folder)


def judged(folder: Path, files: int) -> Callable[[], None]:
    """Return what finds out, by both readers of trees, what a carrier changes in such a repository."""
    clone = project(folder, files)
    base = clone.commit("HEAD")
    before = clone.tree(base)
    put = trees.Put(b"y = 1\n", "100644")
    after = trees.build(clone, before, {"package_000/part_3/module_07.py": put, "package_000/part_4/new.py": put})
    carrier = records.carrier(clone, base, after)

    def judge() -> None:
        changes = trees.compare(clone, clone.tree(base), clone.tree(carrier))
        trees.cross_check(clone, before, after, changes)
        assert records.carrier(clone, base, after) == carrier
        assert len(changes) == 2  # noqa: PLR2004 - as made above

    return judge
