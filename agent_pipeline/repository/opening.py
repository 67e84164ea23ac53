"""Finding and opening a repository whose objects can be relied on; any other is refused with the reason.

libgit2 knows no replace refs, and hashes every object that it reads: one that is borrowed from another repository
(`objects/info/alternates`) counts by its content like any other. Not relied on is a history that is cut (shallow) or
rewritten on display (grafts), because what is shown there is not what is signed; objects that have two names or longer
ones, because what is signed has one; and objects that are fetched when somebody asks for them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pygit2

from agent_pipeline.documents.characters import visible
from agent_pipeline.errors import UsageError

# Bytes of objects that libgit2 keeps, over all repositories; it counts what they hold, and takes four times that. With
# its own quarter of a GB, going through a log of 100,000 entries took 1.1.
CACHE: Final = 32 << 20


def open_repository(start: Path) -> tuple[Path, pygit2.Repository]:
    """Open the repository that `start` lies in, and return its Git directory (the common one, in a linked worktree).

    Raises `UsageError` when there is none, one of another owner, or one whose objects cannot be relied on.
    """
    found = _discover(start)
    common = found
    if (pointer := found / "commondir").is_file():
        common = (found / pointer.read_text().strip()).resolve()
    _check_settings(common)
    repository = _open(found)
    if repository.is_shallow:
        raise UsageError(
            f"{common} is a shallow clone: its history ends too early to prove anything",
            hint="fetch the rest with `git fetch --unshallow` (in CI: check out with full depth)",
        )
    grafts = common / "info" / "grafts"
    if grafts.exists() and grafts.stat().st_size > 0:
        raise UsageError(f"{grafts} rewrites the history that is shown", hint="remove the file")
    return common, repository


def _check_settings(common: Path) -> None:
    """Raise `UsageError` for names of objects, or places to have them from, that nothing here knows.

    Whatever the repository's format version is: programs differ about extensions in one that says it has none.
    """
    for name, value in _settings(common / "config"):
        if name in {"extensions.objectformat", "extensions.compatobjectformat"} and value != "sha1":
            raise UsageError(
                f"{common} names its objects by {visible(value)} ({name}); only SHA-1 names are read and signed",
                hint="work in a clone of a repository with SHA-1 names: `git init --object-format=sha1` makes one",
            )
        if name == "extensions.partialclone" or (name.startswith("remote.") and name.endswith(".promisor")):
            raise UsageError(
                f"{common} is a partial clone ({visible(name)}): it lacks objects that everything rests on",
                hint="clone the repository again, without --filter",
            )


def _settings(file: Path) -> list[tuple[str, str]]:
    if not file.exists():
        return []
    try:
        return [(entry.name, (entry.value or "").strip().lower()) for entry in pygit2.Config(str(file))]
    except (OSError, ValueError, pygit2.GitError) as error:
        raise UsageError(f"{file} cannot be read: {error}", hint="mend it; see `git config --list`") from error


def _discover(start: Path) -> Path:
    try:
        found = pygit2.discover_repository(str(start))
    except (KeyError, ValueError, pygit2.GitError):
        found = None
    if found is None:
        raise UsageError(
            f"{start} is not in a Git repository",
            hint="change to your project's directory; a new project wants `git init` and a first commit",
        )
    return Path(found).resolve()


def _open(path: Path) -> pygit2.Repository:
    pygit2.settings.cache_max_size(CACHE)
    try:
        return pygit2.Repository(str(path))
    except pygit2.GitError as error:
        reason = str(error)
        hint = "check that it is whole and readable with `git status`"
        if "not owned by" in reason:
            hint = f"if you trust it: `git config --global --add safe.directory {path}`"
        if "unsupported extension" in reason:
            hint = "nothing here reads that extension of Git's format: clone the repository again without it"
        raise UsageError(f"cannot open the repository {path}: {reason}", hint=hint) from error
