"""What is mounted in a sandbox that bubblewrap made by our arguments: all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from agent_pipeline.sandbox import layout
from agent_pipeline.sandbox.contract import WORKSPACE
from agent_pipeline.sandbox.mounts import NULL, Mount

_DEVICES: Final = ("full", "null", "random", "tty", "urandom", "zero")


def expected() -> Mapping[str, Mount]:
    """Return every mount. What is bound from the host's own /dev and /proc keeps what that is mounted with."""
    read, closed = frozenset({"ro", "nosuid", "nodev"}), frozenset({"rw", "nosuid", "nodev"})
    noexec = frozenset({"noexec"})
    device = Mount(frozenset({"rw", "nosuid"}), ("devtmpfs", "tmpfs"), stricter=noexec)
    sizes = {where: size * 1024 for where, (size, _, _) in layout.scratch().items()}
    sizes["/dev/shm"] = layout.SHM_MB * 1024  # noqa: S108
    kernel = layout.kernel()
    masks = layout.masked(kernel, "/proc")
    return {
        "/": Mount(read, root=None),
        "/proc": Mount(closed | noexec, ("proc",)),
        **{
            where: Mount(read, ("proc",), root=where.removeprefix("/proc"), stricter=noexec)
            for where in layout.read_only(kernel)
        },
        "/dev": Mount(read, ("tmpfs",)),
        "/dev/pts": Mount(frozenset({"rw", "nosuid", "noexec"}), ("devpts",)),
        WORKSPACE: Mount(closed, root=None, stricter=noexec),
        **{f"/dev/{name}": replace(device, root=f"/{name}") for name in _DEVICES},
        **{where: Mount(closed, ("tmpfs",), bounds=frozenset({f"size={size}k"})) for where, size in sizes.items()},
        **{where: Mount(read, ("tmpfs",)) for where, folder in masks.items() if folder},
        **{
            where: Mount(read, device.kinds, root=NULL, stricter=noexec)
            for where, folder in masks.items()
            if not folder
        },
    }
