"""Letting the operator's own checked-out files follow a branch that moved, without losing anything of theirs.

Git's two-tree merge (`git read-tree -m -u`) refuses to touch a file with local changes or an untracked file in its way
and leaves all other local changes alone. Here, and only here, Git works in a working tree: the operator's, with what
was merged into their branch, and so with their own configuration (line endings, large-file filters). Hooks stay off.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from agent_pipeline import interrupts, process
from agent_pipeline.documents.characters import visible
from agent_pipeline.errors import GitError, StaleError, UsageError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.git import git

_SETTINGS = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "submodule.recurse=false", "gc.auto=0")
_SECONDS = 600
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_CONFIG_HOME", "SSH_AUTH_SOCK", "GIT_CONFIG_GLOBAL")


def can_update(clone: Clone, old: str, new: str) -> tuple[str, ...]:
    """Return the local changes that stand in the way of following from `old` to `new`; empty when nothing does.

    Raises `GitError` when that cannot be told.
    """
    worktree = _worktree(clone)
    refreshed = _git(clone, worktree, "update-index", "-q", "--refresh", "--ignore-submodules")
    if not refreshed.ok:
        raise GitError(
            f"Git cannot write its index of the files in {worktree}: {refreshed.explain()}",
            hint="there may be no space left, or another Git process is at work there (index.lock); then try again",
        )
    if untracked := _untracked(clone, worktree, old, new):
        return untracked
    done = _read_tree(clone, worktree, old, new, "--dry-run")
    if done.ok:
        return ()
    said = _lines(done.stderr)
    names = [match[1] for line in said if (match := _NAMED.search(line)) is not None]
    return tuple(sorted(set(names))) or tuple(said[:1]) or ("something that Git does not name",)


_NAMED = re.compile(r"(?:Entry|Untracked working tree file|Updating|file) '(.+?)'")


def _lines(said: bytes) -> list[str]:
    """Return what a command said, line by line, with nothing in it that a terminal would obey."""
    return [visible(line) for line in said.decode("utf-8", "surrogateescape").splitlines() if line.strip()]


def _untracked(clone: Clone, worktree: Path, old: str, new: str) -> tuple[str, ...]:
    """Return the user's untracked files where `new` has files that `old` had not.

    Git itself asks for those that are not ignored only: an ignored file would be overwritten without a word.
    """
    flags = ("-r", "-z", "--no-renames", "--diff-filter=A", "--name-only", "--end-of-options")
    added = [os.fsdecode(path) for path in git(clone, "diff-tree", *flags, old, new).split(b"\0") if path]
    index = clone.objects.index
    index.read(False)  # noqa: FBT003 - pygit2's own signature: not by force
    tracked = {entry.path for entry in index}
    found: set[str] = set()
    for path in added:
        *folders, _ = path.split("/")
        parents = ["/".join(folders[: depth + 1]) for depth in range(len(folders))]
        blocking = next((parent for parent in parents if _is_file(worktree / parent)), None)
        for one in [blocking] if blocking is not None else _files_at(worktree, path):
            if one not in tracked:
                found.add(visible(one))
    return tuple(sorted(found))


def _is_file(path: Path) -> bool:
    return os.path.lexists(path) and (path.is_symlink() or not path.is_dir())


def _files_at(worktree: Path, path: str) -> list[str]:
    """Return the file at `path`, or all files below it when it is a directory."""
    if _is_file(worktree / path):
        return [path]
    inside = os.walk(worktree / path)
    return [os.fspath((Path(folder) / name).relative_to(worktree)) for folder, _, names in inside for name in names]


def update(clone: Clone, old: str, new: str) -> None:
    """Bring index and files from `old` to `new`.

    Raises `StaleError`, with nothing touched, when local changes are in the way.
    """
    worktree = _worktree(clone)
    if in_the_way := can_update(clone, old, new):
        raise StaleError(
            f"the branch is at {new[:12]} now, but your files were left as they are: local changes to "
            + ", ".join(in_the_way[:5]),
            hint=f"keep them with `git stash`, run `git read-tree -m -u {old[:12]} {new[:12]}`, then `git stash pop`",
        )
    with interrupts.held_back():  # cut in two it would leave half of the files
        done = _read_tree(clone, worktree, old, new)
    if not done.ok:
        raise GitError(
            f"the branch is at {new[:12]} now, but Git could not update the files in {worktree}: {done.explain()}",
            hint="make room there; what `git status` shows then is not your work, `git stash` puts it aside",
        )


def _worktree(clone: Clone) -> Path:
    if clone.worktree is None:
        raise UsageError(f"{clone.path} is bare: it has no checked-out files")
    return clone.worktree


def _read_tree(clone: Clone, worktree: Path, old: str, new: str, *more: str) -> process.Completed:
    return _git(
        clone, worktree, "read-tree", "-m", "-u", "--no-recurse-submodules", *more, "--end-of-options", old, new
    )


def _git(clone: Clone, worktree: Path, *args: str) -> process.Completed:
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    folder = clone.objects.path
    return process.run(
        ["git", f"--git-dir={folder}", f"--work-tree={worktree}", *settings, *args],
        env={**process.inherited(*_KEPT), "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_REPLACE_OBJECTS": "1"},
        cwd=worktree,
        timeout=_SECONDS,
    )
