"""Where a file that decides about keys may lie, and whose it must be. Looks at owners and modes; reads no content."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent_pipeline.errors import UsageError

_OTHERS: Final = 0o077
_CHANGE: Final = stat.S_IWGRP | stat.S_IWOTH
_LINKS: Final = 40  # as many as Linux follows


def private(path: str, found: os.stat_result) -> None:
    """Raise `UsageError` unless the file is a regular one that only its owner, who is us or root, can read."""
    _ours(path, found)
    if found.st_mode & _OTHERS:
        raise UsageError(
            f"{path} can be read or changed by others (mode {stat.S_IMODE(found.st_mode):04o})",
            hint=f"chmod 600 {path} - and if others were on this machine meanwhile, make a new key",
        )


def code(path: str) -> None:
    """Raise `UsageError` unless `path` is a file that only root and we can change: it is loaded as code."""
    found = _stat(path)
    _ours(path, found)
    if found.st_mode & _CHANGE:
        raise UsageError(f"{path} can be changed by others", hint=f"chmod go-w {path}, or install it as root")
    way(path)


def way(path: str) -> None:
    """Raise `UsageError` when somebody else can exchange what stands at `path`, by a link or by its folder.

    Folders on the way, links followed, belong to us or to root, and not everybody may write there (unless it is sticky,
    as /tmp is). A folder that a group may write passes, for that is how many homes are: who cannot make files of ours
    gains nothing from it.
    """
    for at, found in _steps(Path(path).absolute()):
        step(path, at, found)


def step(path: str, at: Path, found: os.stat_result) -> None:
    """Raise `UsageError` when the folder or link `at`, on the way to `path`, is in somebody else's hands."""
    if found.st_uid not in (os.geteuid(), 0):
        kind = "the link" if stat.S_ISLNK(found.st_mode) else "the folder"
        raise UsageError(
            f"{path}: {kind} {at} belongs to another user, who could exchange it",
            hint="keep it in a folder of your own",
        )
    if stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise UsageError(f"{path}: everybody may write to the folder {at}", hint=f"chmod o-w {at}")


def _steps(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Go the way from the root down, link by link, and return every folder and link on it."""
    links, left, at = 0, list(path.parts[1:]), Path(path.anchor)
    while left:
        name = left.pop(0)
        if name == "..":
            at = at.parent
            continue
        found = _stat(str(at / name), follow=False)
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > _LINKS:
                raise UsageError(f"{path}: too many links", hint="name the file itself")
            target = (at / name).readlink()
            yield at / name, found
            at, left = (Path("/") if target.is_absolute() else at), [*_parts(target), *left]
            continue
        at /= name
        if left:
            yield at, found


def _parts(path: Path) -> tuple[str, ...]:
    return path.parts[1:] if path.is_absolute() else path.parts


def _stat(path: str, *, follow: bool = True) -> os.stat_result:
    try:
        return os.stat(path, follow_symlinks=follow)  # noqa: PTH116 - one call for both kinds
    except OSError as error:
        raise UsageError(
            f"{path} cannot be opened: {error.strerror}",
            hint="`agent-pipeline keys list` shows the keys that are there; `keys generate` makes one",
        ) from error


def _ours(path: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{path} is no regular file", hint="name the file itself")
    if found.st_uid not in (os.geteuid(), 0):
        raise UsageError(f"{path} belongs to another user", hint="use a file of your own")
