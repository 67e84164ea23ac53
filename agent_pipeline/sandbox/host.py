"""What this host's kernel offers to sandboxes, for people: read, never guessed, and nothing is decided by it.

Whether a sandbox works is tried, and whether a bound holds is measured (`Engine.available`, `Engine.unenforced`). This
says why.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

# Each may be absent; what is there and has this value keeps ordinary users from making user namespaces.
_CLOSED: Final = {
    "kernel/unprivileged_userns_clone": "0",
    "user/max_user_namespaces": "0",
    "kernel/apparmor_restrict_unprivileged_userns": "1",
}
_QUEUED: Final = "what TCP connections queue that nobody accepts counts for no control group"


def describe(root: Path = Path("/")) -> tuple[str, ...]:
    """Return one line each on control groups, sockets, user namespaces, overlay and system call filters."""
    return (
        f"control groups: {_control_groups(root)}",
        f"sockets: {_sockets(root)}",
        f"user namespaces: {_user_namespaces(root)}",
        f"overlay: {_overlay(root)}",
        f"system call filter: {_filter(root)}",
    )


def delegation(root: Path = Path("/")) -> str:
    """Return how an ordinary user comes by a control group of their own on this host: only what can work here."""
    unified = _control_groups(root) == "version 2"
    as_root = "run it as root, who gives up its rights before bubblewrap comes"
    if not unified:
        return f"{as_root}, or use Docker: in control groups of version 1 nothing is delegated"
    if (root / "run/systemd/system").is_dir() and (root / f"run/user/{os.geteuid()}/systemd").is_dir():
        return "run it in a delegated control group: `systemd-run --user --scope --property=Delegate=yes COMMAND`"
    return (
        f"{as_root}; or have root hand a control group over (its directory, cgroup.procs and cgroup.subtree_control "
        "belong to you then), and run in a group below it"
    )


def _control_groups(root: Path) -> str:
    mounts = [line.split(" - ")[1].split(" ") for line in _lines(root / "proc/self/mountinfo") if " - " in line]
    first = sorted({name for kind, _, options in mounts if kind == "cgroup" for name in options.split(",")} - {"rw"})
    second = any(kind == "cgroup2" for kind, *_ in mounts)
    if not first:
        return "version 2" if second else "none is mounted"
    held = ", ".join(name for name in first if name in {"memory", "pids", "cpu"}) or "none that bounds a sandbox"
    return f"version 1 with {held}" + ("; version 2 is mounted beside it" if second else "")


def _sockets(root: Path) -> str:
    """Return what bounds what is queued where no control group does: a connection is nobody's until it is accepted."""
    try:
        pages = int(_lines(root / "proc/sys/net/ipv4/tcp_mem")[0].split()[2])
    except (IndexError, ValueError):
        return _QUEUED
    most = pages * os.sysconf("SC_PAGE_SIZE") >> 20
    return f"{_QUEUED}: {most} MB at most for the whole host (net.ipv4.tcp_mem)"


def _user_namespaces(root: Path) -> str:
    closed = [name for name, value in _CLOSED.items() if _lines(root / "proc/sys" / name)[:1] == [value]]
    if not (root / "proc/self/ns/user").exists() and not (root / "proc/self/ns/user").is_symlink():
        return "the kernel has none"
    if not closed:
        return "any user may make them"
    names = ", ".join(f"{name.replace('/', '.')}={_CLOSED[name]}" for name in closed)
    return f"only root may make them ({names})"


def _overlay(root: Path) -> str:
    there = any(line.split()[-1:] == ["overlay"] for line in _lines(root / "proc/filesystems"))
    if not there:
        return "not loaded"
    return "there" + ("; mounted by root directly" if os.geteuid() == 0 else "; without root in a user namespace")


def _filter(root: Path) -> str:
    actions = _lines(root / "proc/sys/kernel/seccomp/actions_avail")
    return f"there ({actions[0]})" if actions else "the kernel has none"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
