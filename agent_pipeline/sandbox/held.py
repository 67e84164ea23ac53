"""What holds a sandbox's PID 1: read back from the control groups that it is really in, on the host and not by it.

Where this host's files do not show them (an engine in a virtual machine), the engine is taken at its word, and the
posture says that it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from agent_pipeline.sandbox import cgroups
from agent_pipeline.sandbox.cgroups import SOCKETS, SWAP, Hierarchy
from agent_pipeline.sandbox.contract import Bounds

KERNEL, ENGINE, NOBODY = "the kernel's files", "the engine's word", "nobody"
_NANO: Final = 1_000_000_000
_FILES: Final = {
    (1, "memory"): ("memory.limit_in_bytes",),
    (1, SOCKETS): (cgroups.QUEUED,),
    (1, "pids"): ("pids.max",),
    (1, "cpu"): ("cpu.cfs_quota_us", "cpu.cfs_period_us"),
    (2, "memory"): ("memory.max",),
    (2, SWAP): ("memory.swap.max",),
    (2, SOCKETS): ("memory.max",),
    (2, "pids"): ("pids.max",),
    (2, "cpu"): ("cpu.max",),
}


def expected(bounds: Bounds, controllers: Sequence[str], by: str) -> dict[str, str]:
    """Return the facts that must be found, for those of `cgroups.BOUNDED` that hold here."""
    values = {
        "memory": str(bounds.memory_mb << 20),
        SWAP: "0",
        SOCKETS: str(bounds.memory_mb << 20),
        "pids": str(bounds.pids),
        "cpu": f"{cgroups.quota(bounds)} {cgroups.PERIOD}",
    }
    found = {f"held.{name}": values[name] for name in controllers}
    return {**found, "held.by": by if found else NOBODY}


def nobody() -> dict[str, str]:
    """Return what there is to say where no control group holds."""
    return {"held.by": NOBODY}


def by_kernel(pid: int, named: str, controllers: Sequence[str], root: Path = Path("/proc")) -> dict[str, str]:
    """Return what holds the process `pid`, as far as it is in groups whose path has `named` in it.

    What cannot be read is not in the answer.
    """
    facts: dict[str, str] = {}
    for hierarchy in _of(pid, root):
        there = (*hierarchy.controllers, *((SWAP, SOCKETS) if "memory" in hierarchy.controllers else ()))
        if named in str(hierarchy.own):
            values = {name: _read(hierarchy, name) for name in controllers if name in there}
            facts |= {f"held.{name}": value for name, value in values.items() if value is not None}
    return {**facts, "held.by": KERNEL if facts else NOBODY}


def _of(pid: int, root: Path) -> Sequence[Hierarchy]:
    try:
        return cgroups.hierarchies(root / "self", root / str(pid))
    except OSError:
        return ()


def by_engine(host: Mapping[str, Any], controllers: Sequence[str]) -> dict[str, str]:
    """Return what a Docker engine says that it holds a container by; `host` is the host configuration it has of it."""
    memory = int(host.get("Memory") or 0)
    values = {
        "memory": str(memory),
        SWAP: str(int(host.get("MemorySwap") or 0) - memory),
        SOCKETS: str(memory),
        "pids": str(host.get("PidsLimit")),
        "cpu": f"{int(host.get('NanoCpus') or 0) * cgroups.PERIOD // _NANO} {cgroups.PERIOD}",
    }
    facts = {f"held.{name}": values[name] for name in controllers}
    return {**facts, "held.by": ENGINE if facts else NOBODY}


def _read(hierarchy: Hierarchy, name: str) -> str | None:
    """Return one bound as the kernel has it. Version 1 counts swap and memory together."""
    try:
        if (hierarchy.version, name) == (1, SWAP):
            both, memory = (
                int((hierarchy.own / file).read_text())
                for file in ("memory.memsw.limit_in_bytes", "memory.limit_in_bytes")
            )
            return str(both - memory)
        return " ".join((hierarchy.own / file).read_text().strip() for file in _FILES[hierarchy.version, name])
    except (OSError, ValueError):
        return None
