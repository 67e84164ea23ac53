"""What a sandbox looks like from inside, the same on both backends: sizes, limits, masked files, environment."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox.contract import HOME, UID, Image, Spec

AGENT: Final = ("/usr/bin/python3", "-I", "-S", "/opt/agent-pipeline/frame_agent.pyc")
HOSTNAME: Final = "sandbox"
MIB: Final = 1 << 20
TMP_MB, HOME_MB, SHM_MB, RUN_MB = 512, 512, 64, 1
INODES: Final = 65_536
OPEN_FILES: Final = 4096
_RUN: Final = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
READY_SECONDS: Final = 30.0  # from the start of PID 1 to its report, on a busy machine

# The engine's own defaults, and what tells about the host's hardware and other work.
MASKED: Final = tuple(
    f"/proc/{name}"
    for name in (
        *("acpi", "asound", "cmdline", "interrupts", "kallsyms", "kcore", "key-users", "keys", "latency_stats"),
        *("modules", "partitions", "pressure", "sched_debug", "scsi", "timer_list", "timer_stats"),
    )
) + tuple(f"/sys/{name}" for name in ("block", "bus", "class", "dev", "firmware", "fs", "kernel", "module", "power"))
READ_ONLY: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def environment(image: Image) -> dict[str, str]:
    """Return the environment of the image's configuration (OCI `config.Env`).

    Raises `SandboxError` when it is not readable.
    """
    try:
        document = json.loads((image.folder / "config.json").read_bytes())
        return dict(str(pair).split("=", 1) for pair in document["config"]["Env"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SandboxError(
            f"the configuration of image {image.name} ({image.identity[:12]}) cannot be read",
            hint=f"build it again with `agent-pipeline image build {image.name}`",
        ) from error


def file_limit(spec: Spec) -> int:
    """Return the bytes that one file may have: what the workspace or the largest scratch directory could hold."""
    return max(spec.bounds.disk_mb, TMP_MB, HOME_MB) * MIB


def limits(spec: Spec) -> Mapping[str, str]:
    """Return the resource limits as the self-test reports them (soft and hard)."""
    size = file_limit(spec)
    return {
        "core file size": "0 0",
        "file size": f"{size} {size}",
        "locked memory": "0 0",
        "msgqueue size": "0 0",
        "nice priority": "0 0",
        "open files": f"{OPEN_FILES} {OPEN_FILES}",
        "realtime priority": "0 0",
    }


def is_root() -> bool:
    """Whether we are root here, and the sandbox must not be."""
    return os.geteuid() == 0


def owner() -> int:
    """Return the host's uid that owns what the sandbox writes: the workload's, or the caller's who is not root."""
    return UID if is_root() else os.geteuid()


def group() -> int:
    """Return the host's gid that goes with `owner`."""
    return UID if is_root() else os.getegid()


def kernel(listings: Mapping[str, Collection[str]] | None = None) -> Mapping[str, bool]:
    """Return what of `MASKED` and `READ_ONLY` there is, and whether each is a directory.

    Of this kernel, which the sandbox shares, or of one whose /proc and /sys have the names of `listings` (directories
    with a trailing `/`).
    """
    possible = (*MASKED, *READ_ONLY)
    if listings is None:
        return {where: Path(where).is_dir() for where in possible if Path(where).exists()}
    there = {f"{top}/{name.rstrip('/')}": name.endswith("/") for top, names in listings.items() for name in names}
    return {where: there[where] for where in possible if where in there}


def masked(there: Mapping[str, bool], top: str) -> Mapping[str, bool]:
    """Return what of `there`, which `kernel` has found, must be masked below `top`."""
    return {where: folder for where, folder in there.items() if where in MASKED and where.startswith(f"{top}/")}


def read_only(there: Mapping[str, bool]) -> Collection[str]:
    """Return what of `there`, which `kernel` has found, must be read-only."""
    return [where for where in there if where in READ_ONLY]


def disk_is_bounded(workspace: Path, disk_mb: int) -> bool:
    """Whether the file system that holds `workspace` is itself no larger than `disk_mb`."""
    found = os.statvfs(workspace)
    return found.f_blocks * found.f_frsize <= disk_mb * MIB + MIB


def refuse(spec: Spec, missing: tuple[str, ...]) -> None:
    """Raise `SandboxError` for a run whose name no engine takes, and when a required bound is one of `missing`."""
    if not _RUN.match(spec.run):
        raise SandboxError(f"a run cannot be named {spec.run!r}", hint="letters, digits, dots and dashes, at most 64")
    lacking = [name for name in spec.bounds.require if name in missing]
    if lacking:
        raise SandboxError(
            f"the policy requires enforced bounds on {', '.join(lacking)}, and this host cannot enforce them here",
            hint="`agent-pipeline doctor` says what is missing; or take it out of `sandbox.require` in the policy",
        )


def scratch() -> Mapping[str, tuple[int, int, str]]:
    """Return the scratch directories: MiB, inodes, mode."""
    return {
        "/tmp": (TMP_MB, INODES, "1777"),  # noqa: S108 - the sandbox's own
        "/run": (RUN_MB, 1024, "0755"),
        HOME: (HOME_MB, INODES, "0700"),
    }
