"""Removing a directory that hostile code filled: of any depth, with any modes, never following a link."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from agent_pipeline.errors import StorageError
from agent_pipeline.workspace.reading import itself, names, set_mode

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(folder: Path) -> None:
    """Remove `folder` and everything in it; nothing happens when it is not there. Raises `StorageError`.

    Flat instead of recursive: a directory's subdirectories are moved up to the top before it is removed, so that no
    nesting is too deep for the stack, the open files or the length of a path.
    """
    try:
        top = os.open(folder, _OPEN)
    except FileNotFoundError:
        return
    try:
        fresh = _fresh_names()
        while found := names(top):
            for name in found:
                _remove_entry(top, name, fresh)
        folder.rmdir()
    except OSError as error:
        raise StorageError(f"cannot remove {folder}: {error}", hint=f"remove it by hand: rm -rf {folder}") from error
    finally:
        os.close(top)


def _fresh_names() -> Iterator[str]:
    """Yield names that nothing in the directory has: nobody could guess them."""
    token, number = secrets.token_hex(8), 0
    while True:
        number += 1
        yield f"{token}-{number}"


def _remove_entry(top: int, name: str, fresh: Iterator[str]) -> None:
    here = _open_directory(top, name)
    if here is None:
        os.unlink(name, dir_fd=top)
        return
    try:
        for inner in names(here):
            if (below := _open_directory(here, inner)) is None:
                os.unlink(inner, dir_fd=here)
            else:
                os.close(below)
                os.rename(inner, next(fresh), src_dir_fd=here, dst_dir_fd=top)
    finally:
        os.close(here)
    os.rmdir(name, dir_fd=top)


def _open_directory(parent: int, name: str) -> int | None:
    """Return a handle on a directory, with permissions to empty and move it; None for anything else."""
    if not stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
        return None
    with itself(name, parent) as handle:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            return None  # exchanged since
        set_mode(handle, 0o700)
        return os.open(".", _OPEN, dir_fd=handle)
