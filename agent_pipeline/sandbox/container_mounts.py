"""What is mounted in a container that runc made by our configuration: all of it, for both control group versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agent_pipeline.sandbox import layout
from agent_pipeline.sandbox.contract import Bounds
from agent_pipeline.sandbox.mounts import NULL, Mount

_STRICTER: Final = frozenset({"nosuid", "nodev", "noexec"})
_READ: Final = frozenset({"ro", *_STRICTER})
_CLOSED: Final = frozenset({"rw", "nosuid", "nodev"})
NEAR: Final = Mount(frozenset({"rw"}), root=None, stricter=_STRICTER)  # as the directory's own file system is mounted
# Version 1: whatever hierarchies the host has mounted. /sys/fs, which is masked, hides them.
_HIERARCHIES: Final = (
    *("blkio", "cpu", "cpu,cpuacct", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "memory", "misc", "net_cls"),
    *("net_cls,net_prio", "net_prio", "perf_event", "pids", "rdma", "systemd", "openrc", "elogind"),
)


def far(bounds: Bounds, names: int) -> Mount:
    """Return the workspace of an engine elsewhere: a tmpfs of that size, with room for so many names."""
    sizes = frozenset({f"size={bounds.disk_mb * 1024}k", f"nr_inodes={names}"})
    return Mount(_CLOSED, ("tmpfs",), stricter=frozenset({"noexec"}), bounds=sizes)


def expected(version: int, kernel: Mapping[str, bool]) -> Mapping[str, Mount]:
    """Return every mount but the workspace's; `kernel` is what has to be covered, and whether it is a directory."""
    covered = {**layout.masked(kernel, "/proc"), **layout.masked(kernel, "/sys")}
    return {
        "/": Mount(frozenset({"ro"}), stricter=frozenset({"nosuid", "nodev"})),
        "/proc": Mount(_CLOSED | {"noexec"}, ("proc",)),
        "/dev": Mount(frozenset({"rw", "nosuid"}), ("tmpfs",), bounds=frozenset({"size=65536k"})),
        "/dev/pts": Mount(frozenset({"rw", "nosuid", "noexec"}), ("devpts",)),
        "/dev/mqueue": Mount(_CLOSED | {"noexec"}, ("mqueue",)),
        "/sys": Mount(_READ, ("sysfs",)),
        **_groups(version),
        **_scratch(),
        **_files(),
        **{where: Mount(_READ, ("proc",), root=where.removeprefix("/proc")) for where in layout.read_only(kernel)},
        **{
            where: Mount(frozenset({"ro"}), ("tmpfs",), stricter=_STRICTER) if folder else _null()
            for where, folder in covered.items()
        },
    }


def _null() -> Mount:
    return Mount(frozenset({"rw", "nosuid"}), ("tmpfs", "devtmpfs"), root=NULL, stricter=frozenset({"noexec"}))


def _groups(version: int) -> Mapping[str, Mount]:
    if version == 2:  # noqa: PLR2004 - the kernel's own number
        return {"/sys/fs/cgroup": Mount(_READ, ("cgroup2",))}
    one = Mount(_READ, ("cgroup",), optional=True)
    top = Mount(_CLOSED | {"noexec"}, ("tmpfs",))  # the directory of the hierarchies, each read-only
    return {"/sys/fs/cgroup": top, **{f"/sys/fs/cgroup/{name}": one for name in _HIERARCHIES}}


def _scratch() -> Mapping[str, Mount]:
    sizes = {
        where: (f"size={size * 1024}k", f"nr_inodes={names}") for where, (size, names, _) in layout.scratch().items()
    }
    scratch = {where: Mount(_CLOSED, ("tmpfs",), bounds=frozenset(bounds)) for where, bounds in sizes.items()}
    shm = Mount(_CLOSED | {"noexec"}, ("tmpfs",), bounds=frozenset({f"size={layout.SHM_MB * 1024}k"}))
    return {**scratch, "/dev/shm": shm}  # noqa: S108 - the sandbox's own


def _files() -> Mapping[str, Mount]:
    """Return the files that the engine keeps for each container; what names are in them is judged as well."""
    names = ("hostname", "hosts", "resolv.conf")
    return {
        f"/etc/{name}": Mount(frozenset({"ro"}), root=f"*/{name}", stricter=_STRICTER, optional=True) for name in names
    }
