"""The mounts of a copy: a tmpfs of fixed size, so that nothing written can fill the host's disk, and the overlay.

Root only. By the kernel's own calls: starting `mount` for each would cost more than all the rest of a copy.
"""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache
from pathlib import Path
from typing import Final

from agent_pipeline import clock
from agent_pipeline.errors import StorageError

UPPER, WORK = "upper", "work"
_BYTES_PER_FILE: Final = 4096  # of the space beside the tree: what is made there may be as small as this on average
_LEAST: Final = 16_384
_TRIES: Final = 20
_PAUSE: Final = 0.1
_NOSUID, _NODEV = 2, 4  # linux/mount.h
_DETACH, _NOFOLLOW = 2, 8  # of umount2(2)
_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Renamed directories and changed modes are plain entries then, which harvesting understands.
_PLAIN: Final = "metacopy=off,index=off,xino=off"
OPTIONS: Final = f"redirect_dir=off,{_PLAIN}"
OPTIONS_OF_A_USER: Final = f"userxattr,redirect_dir=nofollow,{_PLAIN}"  # the kernel takes no other redirect_dir with it


def size_options(disk_mb: int, files: int = 0) -> str:
    """Return the options of a tmpfs of `disk_mb` MiB with room for `files` and as many more as the size allows."""
    inodes = 2 * files + max(_LEAST, (disk_mb << 20) // _BYTES_PER_FILE)
    return f"size={disk_mb}m,nr_inodes={inodes}"


def mount(folder: Path, disk_mb: int, files: int = 0) -> bool:
    """Mount a tmpfs of `disk_mb` MiB on `folder`, with room for `files` and as many more as the size allows.

    Return False where even root may not mount (in some containers).
    """
    return _mount("tmpfs", folder, f"{size_options(disk_mb, files)},mode=0755")


def overlay(lower: Path, space: Path, folder: Path) -> bool:
    """Mount on `folder` what `lower` and the directories `upper` and `work` of `space` are together.

    Return False where this kernel, these file systems or the caller's rights do not allow it. The directories are
    named by descriptor: no character of a path has a meaning here, and what the sandbox reads of its mounts names none.
    """
    try:
        below, beside = os.open(lower, _OPEN), os.open(space, _OPEN)
    except OSError:
        return False
    try:
        top = f"/proc/self/fd/{beside}"
        layers = f"lowerdir=/proc/self/fd/{below},upperdir={top}/{UPPER},workdir={top}/{WORK}"
        return _mount("overlay", folder, f"{layers},{OPTIONS}")
    finally:
        os.close(below)
        os.close(beside)


def unmount(folder: Path) -> None:
    """Unmount `folder` if something is mounted there. Raises `StorageError` when the kernel does not let go of it.

    A container that just died can keep it busy for a moment; it is waited for.
    """
    if not os.path.ismount(folder):
        return
    for _ in range(_TRIES):
        if _unmount(folder, _NOFOLLOW) == 0:
            return
        clock.sleep(_PAUSE)
    # Detached, it vanishes from the file system at once and from memory when its last user does.
    if problem := _unmount(folder, _NOFOLLOW | _DETACH):
        raise StorageError(f"cannot unmount {folder}: {os.strerror(problem)}", hint=f"run `umount -l {folder}` as root")


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _mount(kind: str, folder: Path, options: str) -> bool:
    flags = ctypes.c_ulong(_NOSUID | _NODEV)
    words = [b"agent-pipeline", os.fsencode(folder), kind.encode(), flags, options.encode()]
    return bool(_libc().mount(*words) == 0)


def _unmount(folder: Path, flags: int) -> int:
    """Return 0, or the number of the error."""
    if _libc().umount2(os.fsencode(folder), flags) == 0:
        return 0
    problem = ctypes.get_errno()
    return 0 if problem == errno.EINVAL and not os.path.ismount(folder) else problem
