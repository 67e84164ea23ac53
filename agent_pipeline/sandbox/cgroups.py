"""Control groups for bubblewrap: bounds on memory, processes and processors that only the kernel can hold.

Both versions, and hosts that mix them (each controller lives in one hierarchy). A group is made below the caller's
own where version 1 is mounted, and beside it in version 2, whose inner groups may hold no processes: in the nearest
directory that hands all controllers down. Where none does, they are switched on in one, the nearest that takes it, and
stay on: other runs may have come to rely on them. What cannot be made is not an error here: `enforceable` says so, and
the caller decides.

Source: the kernel's admin-guide/cgroup-v1 and cgroup-v2.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent_pipeline import clock
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox.contract import Bounds

PREFIX: Final = "agent-pipeline."
CONTROLLERS: Final = ("memory", "pids", "cpu")
SWAP: Final = "swap"  # the memory controller's, where the kernel counts it
SOCKETS: Final = "sockets"  # what a program's internet sockets queue; the memory controller's too, where it counts it
BOUNDED: Final = (*CONTROLLERS, SWAP, SOCKETS)
PERIOD: Final = 100_000  # microseconds, the kernel's default
_PATIENCE: Final = 5.0
# Of UDP, too: both are charged by the same path of the kernel. A connection belongs to nobody until it is accepted.
QUEUED: Final = "memory.kmem.tcp.limit_in_bytes"


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where this process's group lies in the hierarchy that holds some controllers."""

    version: int
    mount: Path
    own: Path
    controllers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """The directories of one sandbox's group, one per hierarchy, and those of `BOUNDED` that it holds."""

    folders: tuple[Path, ...]
    held: tuple[str, ...]

    @property
    def name(self) -> str:
        """What its directories are called, and no other group is."""
        return self.folders[0].name

    def admit(self, pid: int) -> None:
        """Put a process into it: what it starts from now on is bounded. Raises `SandboxError` when one is not there.

        The first to come in a while waits for all processors to notice (an RCU grace period): some 10 ms.
        """
        try:
            for folder in self.folders:
                (folder / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            raise SandboxError(f"the sandbox cannot be put into its control group: {error.strerror}") from error

    def remove(self) -> None:
        """Kill what is still in it and remove it; bounded in time. Raises `SandboxError` when something stays."""
        until = clock.monotonic() + _PATIENCE
        for folder in self.folders:
            while not _removed(folder):
                if clock.monotonic() > until:
                    raise SandboxError(f"{folder}: the control group of a sandbox cannot be removed")
                _kill(folder)
                clock.sleep(0.01)


def hierarchies(root: Path = Path("/proc/self"), of: Path | None = None) -> tuple[Hierarchy, ...]:
    """Return the hierarchies that are mounted for `root`, with the controllers we need, and where `of` is in them."""
    groups = [line.split(":", 2) for line in ((of or root) / "cgroup").read_text().splitlines()]
    found = []
    for line in (root / "mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, options = after.split(" ")[0], after.split(" ")[2].split(",")
        if kind not in {"cgroup", "cgroup2"}:
            continue
        top, mount = before.split(" ")[3:5]
        for _, names, path in groups:
            here = not names if kind == "cgroup2" else bool(names) and set(names.split(",")) <= set(options)
            if here and (own := _below(path, top)) is not None:
                found.append(_hierarchy(2 if kind == "cgroup2" else 1, Path(mount), own, names))
    return tuple(hierarchy for hierarchy in found if hierarchy.controllers)


def _below(path: str, top: str) -> str | None:
    """Return `path` relative to the part of the hierarchy that is mounted, None when it lies outside."""
    if top == "/":
        return path.lstrip("/")
    return path[len(top) :].lstrip("/") if path == top or path.startswith(f"{top}/") else None


def _hierarchy(version: int, mount: Path, own: str, names: str) -> Hierarchy:
    if version == 1:
        return Hierarchy(1, mount, mount / own, tuple(name for name in CONTROLLERS if name in names.split(",")))
    listed = mount / "cgroup.controllers"
    there = listed.read_text().split() if listed.exists() else []
    return Hierarchy(2, mount, mount / own, tuple(name for name in CONTROLLERS if name in there))


def whereabouts(found: Sequence[Hierarchy]) -> str:
    """Return where `create` makes groups, in words."""
    words = {1: "below our own", 2: "beside our own"}
    versions = sorted({hierarchy.version for hierarchy in found})
    return " and ".join(f"{words[version]} (version {version})" for version in versions)


def enforceable(name: str, found: Sequence[Hierarchy]) -> tuple[str, ...]:
    """Return those of `BOUNDED` that this process can set to another: make the group `name`, and remove it."""
    try:
        group = create(name, Bounds(memory_mb=64, pids=16, cpus="1", disk_mb=0, seconds=1), found)
    except SandboxError:
        return ()
    group.remove()
    return group.held


def missing(held: Sequence[str]) -> tuple[str, ...]:
    """Return what is not held where `held` is."""
    return tuple(name for name in BOUNDED if name not in held)


def holding(missing: Sequence[str]) -> tuple[str, ...]:
    """Return what is held where `missing` is not."""
    return tuple(name for name in BOUNDED if name not in missing)


def label(name: str) -> str:
    """Return a fresh name for a group."""
    return f"{PREFIX}{name}.{secrets.token_hex(4)}"


def places(name: str, found: Sequence[Hierarchy]) -> tuple[str, ...]:
    """Return the directories that `create` may make for the group `name`."""
    return tuple(str(parent / name) for hierarchy in found for parent in _parents(hierarchy))


def remove(place: str) -> None:
    """Remove one directory of a group that lost its owner, if it is there. Raises `SandboxError`."""
    if Path(place).name.startswith(PREFIX):
        Group((Path(place),), ()).remove()


def create(name: str, bounds: Bounds, found: Sequence[Hierarchy]) -> Group:
    """Make the group `name` with `bounds`, as far as this process may.

    Raises `SandboxError` when nothing can be made at all.
    """
    folders: list[Path] = []
    held: list[str] = []
    for hierarchy in found:
        folder, those = _make(hierarchy, name, bounds)
        if folder is not None:
            folders.append(folder)
            held += those
    if not folders:
        raise SandboxError("no control group can be made here", hint="run as root or with a delegated control group")
    return Group(tuple(folders), tuple(name for name in BOUNDED if name in held))


def _make(hierarchy: Hierarchy, name: str, bounds: Bounds) -> tuple[Path | None, tuple[str, ...]]:
    for parent in _parents(hierarchy):
        folder = parent / name
        try:
            folder.mkdir()
        except OSError:
            continue
        held = tuple(one for one in hierarchy.controllers if _set(folder, _values(hierarchy.version, one, bounds)))
        if held and os.access(folder / "cgroup.procs", os.W_OK):
            return folder, (*held, *(_with_memory(hierarchy.version, folder) if "memory" in held else ()))
        folder.rmdir()
    return None, ()


def _with_memory(version: int, folder: Path) -> tuple[str, ...]:
    """Return what a group of the memory controller bounds besides memory."""
    swap = (folder / ("memory.memsw.limit_in_bytes" if version == 1 else "memory.swap.max")).exists()
    sockets = (folder / QUEUED).exists() if version == 1 else sockets_are_memory()
    return (*((SWAP,) if swap else ()), *((SOCKETS,) if sockets else ()))


def sockets_are_memory(root: Path = Path("/proc")) -> bool:
    """Whether version 2 counts what is queued on sockets with the rest, as it does unless the kernel was told not to.

    Not where that cannot be seen (masked, it is empty). Source: the kernel's admin-guide/kernel-parameters,
    `cgroup.memory=nosocket`.
    """
    try:
        told = (root / "cmdline").read_text("utf-8", "replace")
    except OSError:
        return False
    return bool(told.strip()) and not re.search(r"""(?:^|[\s"'])cgroup\.memory=\S*\bnosocket\b""", told)


def sockets_can_be_bounded() -> bool:
    """Whether this process may bound what is queued in groups of version 1 that others made."""
    own = _first_memory_of(Path("/proc/self"), None)
    return own is not None and os.access(own / QUEUED, os.W_OK)


def bound_sockets(of: Path, named: str, bounds: Bounds, root: Path = Path("/proc/self")) -> bool:
    """Bound what is queued in the group of version 1 that the process with the /proc directory `of` is in.

    For groups that an engine made: Docker sets no such bound. Only where `named` is in the group's path; what was
    queued before is not counted. Return whether it is bounded now.
    """
    group = _first_memory_of(root, of)
    return group is not None and named in str(group) and _set(group, {QUEUED: str(bounds.memory_mb << 20)})


def _first_memory_of(root: Path, of: Path | None) -> Path | None:
    """Return the group of version 1's memory controller that `of` is in, None where there is none to be seen."""
    try:
        found = hierarchies(root, of)
    except OSError:
        return None
    return next((one.own for one in found if one.version == 1 and "memory" in one.controllers), None)


def _parents(hierarchy: Hierarchy) -> Sequence[Path]:
    """Return where a group may be made: in version 2, the nearest that is ours and hands down most controllers."""
    if hierarchy.version == 1:
        return (hierarchy.own,)
    candidates = [hierarchy.own, *hierarchy.own.parents]
    inside = [folder for folder in candidates if folder.is_relative_to(hierarchy.mount) and os.access(folder, os.W_OK)]
    given = {folder: _handed_down(folder, hierarchy.controllers) for folder in inside}
    if all(len(one) < len(hierarchy.controllers) for one in given.values()):
        for folder in inside:
            if _switch_on(folder, hierarchy.controllers) > given[folder]:
                given[folder] = _handed_down(folder, hierarchy.controllers)
                break
    return sorted((folder for folder in inside if given[folder]), key=lambda folder: -len(given[folder]))


def _handed_down(folder: Path, wanted: Sequence[str]) -> set[str]:
    """Return those of `wanted` that groups below `folder` get."""
    try:
        return set((folder / "cgroup.subtree_control").read_text().split()) & set(wanted)
    except OSError:
        return set()


def _switch_on(folder: Path, wanted: Sequence[str]) -> set[str]:
    """Hand down what `folder` itself has of `wanted`; return what groups below it get then.

    The kernel refuses where processes are in it, and where it is not ours.
    """
    with contextlib.suppress(OSError):
        there = set((folder / "cgroup.controllers").read_text().split()) & set(wanted)
        if there:
            (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(there)))
    return _handed_down(folder, wanted)


def quota(bounds: Bounds) -> int:
    """Return the microseconds of processor time that a sandbox has in each period."""
    return int(float(bounds.cpus) * PERIOD)


def _values(version: int, controller: str, bounds: Bounds) -> Mapping[str, str]:
    memory = str(bounds.memory_mb << 20)
    if version == 1:
        return {
            "memory": {
                "memory.limit_in_bytes": memory,
                "?memory.memsw.limit_in_bytes": memory,
                f"?{QUEUED}": memory,  # counted by itself, and not at all without a bound
            },
            "pids": {"pids.max": str(bounds.pids)},
            "cpu": {"cpu.cfs_period_us": str(PERIOD), "cpu.cfs_quota_us": str(quota(bounds))},
        }[controller]
    return {
        "memory": {"memory.max": memory, "?memory.swap.max": "0"},
        "pids": {"pids.max": str(bounds.pids)},
        "cpu": {"cpu.max": f"{quota(bounds)} {PERIOD}"},
    }[controller]


def _set(folder: Path, values: Mapping[str, str]) -> bool:
    """Write the values; those with `?` are there only where the kernel counts such memory."""
    for name, value in values.items():
        file = folder / name.removeprefix("?")
        if name.startswith("?") and not file.exists():
            continue
        try:
            file.write_text(value)
        except OSError:
            return False
    return True


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _kill(folder: Path) -> None:
    """Kill every process in `folder`: they are ours, nothing else ever joins such a group."""
    with contextlib.suppress(OSError):
        (folder / "cgroup.kill").write_text("1")
        return
    with contextlib.suppress(OSError):
        pids = [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]
        for pid in pids:
            if pid > 1:  # 0 stands for a process outside our PID namespace, and would mean our own process group
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
