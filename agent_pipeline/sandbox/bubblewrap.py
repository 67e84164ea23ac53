"""The bubblewrap engine: no daemon, no privileges; namespaces and a system call filter of our own.

Started by root, the uid is dropped before bubblewrap comes; started by anyone else it works without privileges.
Bounds on memory, processes and processors are the control group's, as root or where one is delegated; where there is
none, resource limits stand in as far as they reach, and `unenforced` says what is then not held.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from agent_pipeline import clock, process
from agent_pipeline.config import Config
from agent_pipeline.documents.provenance import SandboxFacts
from agent_pipeline.errors import AgentPipelineError, SandboxError
from agent_pipeline.sandbox import cell_mounts, cgroups, guard, held, intents, layout, posture, seccomp
from agent_pipeline.sandbox.cell import Cell
from agent_pipeline.sandbox.contract import UID, WORKSPACE, Image, Spec
from agent_pipeline.sandbox.session import Session, greet
from agent_pipeline.sandbox.starting import to_its_end

NAME: Final = "bubblewrap"
_UNMAPPED: Final = "65534"  # what the kernel shows for a group that the namespace does not have
_LOOK_AGAIN: Final = 60.0  # seconds
_OLDEST: Final = (0, 8, 0)  # `--disable-userns`
End = Callable[[], str | None]


class Bubblewrap:
    """Implements `contract.Engine`."""

    name = NAME
    reach: Literal["host", "namespace"] = "namespace"

    def __init__(self, config: Config) -> None:
        """Take the configuration; nothing is looked at yet."""
        self._config = config
        self._looked: dict[str, tuple[float, Path]] = {}  # when and where each image's files were found whole

    @cached_property
    def _version(self) -> str:
        found = process.run(["bwrap", "--version"], env=guard.environment(), timeout=10)
        return found.stdout.decode("ascii", "replace").removeprefix("bubblewrap").strip()

    @cached_property
    def _hierarchies(self) -> tuple[cgroups.Hierarchy, ...]:
        return cgroups.hierarchies()

    @cached_property
    def _held(self) -> tuple[str, ...]:
        name = cgroups.label("probe")
        with intents.intent(self._config.runs, "group", cgroups.places(name, self._hierarchies)):
            return cgroups.enforceable(name, self._hierarchies)

    def available(self) -> str | None:
        """Return None when a sandbox can be started here, else why not. Tries a real one that does nothing."""
        missing = [tool for tool in guard.TOOLS if process.which(tool) is None]
        if missing:
            return f"{', '.join(missing)} not found; install bubblewrap and util-linux"
        try:
            if tuple(int(part) for part in re.findall(r"\d+", self._version)[:3]) < _OLDEST:
                return f"bubblewrap {self._version} is too old; 0.8.0 or newer is needed"
            seccomp.program()
            command = ["bwrap", *_namespaces(), "--ro-bind", "/", "/", "--", "/bin/true"]
            tried = process.run(
                guard.limited(command, limits=(), drop=layout.is_root()), env=guard.environment(), timeout=10
            )
        except AgentPipelineError as error:
            return error.message
        return None if tried.ok else f"bubblewrap cannot make namespaces here: {_last_line(tried.stderr)}"

    def unenforced(self) -> tuple[str, ...]:
        """Return the bounds that this host does not hold: control groups that cannot be made, and disk without root.

        Disk is the workspace's to bound: where that is, `start` takes it as held.
        """
        missing = list(cgroups.missing(self._held))
        return tuple(missing) if layout.is_root() else (*missing, "disk")

    def explain(self) -> tuple[str, ...]:
        """Return what holds each bound here, in lines for people."""
        started = (
            f"root, and gives up its rights (uid {UID}) before bubblewrap comes"
            if layout.is_root()
            else "an ordinary user"
        )
        lines = [f"version {self._version}, started by {started}"]
        if self._held:
            lines.append(f"{', '.join(self._held)}: by control groups {cgroups.whereabouts(self._hierarchies)}")
        if lost := cgroups.missing(self._held):
            stands_in = {
                "memory": "RLIMIT_AS for each process alone",
                "pids": "RLIMIT_NPROC, which the kernel counts by user",
            }
            instead = "; ".join(f"for {name} {stands_in[name]}" for name in lost if name in stands_in)
            why = "no control group of ours has them" if self._held else "no control group can be made here"
            lines.append(f"{', '.join(lost)}: not held, {why}{f' (instead: {instead})' if instead else ''}")
        return tuple(lines)

    def start(self, spec: Spec) -> Session:
        """Start a sandbox and let it prove its walls. Raises `SandboxError`; nothing is left behind then."""
        if spec.runtime is not None:
            raise SandboxError(
                f"bubblewrap has no runtimes, and the policy asks for {spec.runtime}", hint="use `--sandbox docker`"
            )
        return to_its_end(lambda: self._start(spec), Session.close)

    def _start(self, spec: Spec) -> Session:
        rootfs = self._unpacked(spec.image)
        for path in (rootfs, spec.workspace):
            reachable(path)
        missing = tuple(name for name in self.unenforced() if name != "disk")
        if not layout.disk_is_bounded(spec.workspace, spec.bounds.disk_mb):
            missing += ("disk",)
        layout.refuse(spec, missing)
        env = layout.environment(spec.image)
        cell, end = self._launch(["bwrap", *arguments(rootfs, spec, env)], spec)
        try:
            return self._prove(cell, spec, env, missing, end)
        except BaseException as error:
            reason = end()
            if isinstance(error, SandboxError) and reason:
                raise SandboxError(f"{error.message}: {reason}", hint=error.hint) from error
            raise

    def _unpacked(self, image: Image) -> Path:
        """Return the image's files, looked at when this engine first uses them and again once in a while.

        Not at each start: that takes longer than all the rest of one, and who can change them can change us.
        """
        from agent_pipeline.sandbox.images import unpack  # noqa: PLC0415 - brings the archive code, only needed here

        now = clock.monotonic()
        seen, rootfs = self._looked.get(image.identity, (-_LOOK_AGAIN, None))
        if rootfs is None or now - seen >= _LOOK_AGAIN or not rootfs.is_dir():
            rootfs = unpack.rootfs(self._config, image)
            self._looked[image.identity] = (now, rootfs)
        return rootfs

    def _launch(self, command: list[str], spec: Spec) -> tuple[Cell, End]:
        """Make the control group and launch `command` in it; return it, and what ends both."""
        intents.sweep(self._config.runs, {"group": cgroups.remove})
        if not self._held:
            cell = Cell(command, spec, None)
            return cell, cell.end
        name, lease = cgroups.label(spec.run), contextlib.ExitStack()
        lease.enter_context(intents.intent(self._config.runs, "group", cgroups.places(name, self._hierarchies)))
        try:
            cell = self._launch_in(cgroups.create(name, spec.bounds, self._hierarchies), command, spec)
        except BaseException:
            lease.close()
            raise

        def end() -> str | None:
            reason = cell.end()
            lease.close()  # only now that it is gone: else a sweep has to know of it
            return reason

        return cell, end

    def _launch_in(self, group: cgroups.Group, command: list[str], spec: Spec) -> Cell:
        """Launch `command` in `group`, and remove that when it does not come to it."""
        try:
            self._same_bounds(group)
            return Cell(command, spec, group)
        except BaseException:
            group.remove()
            raise

    def _same_bounds(self, group: cgroups.Group) -> None:
        if group.held != self._held:
            raise SandboxError("this host enforced other bounds a moment ago", hint="try again")

    def _prove(self, cell: Cell, spec: Spec, env: Mapping[str, str], missing: tuple[str, ...], end: End) -> Session:
        processes = spec.bounds.pids if "pids" in missing else None
        report = greet(cell.link, seconds=spec.bounds.seconds, processes=processes, timeout=layout.READY_SECONDS)
        walls = posture.check(report, cell.held(), expected(spec, env, self._held))
        facts = SandboxFacts(
            backend=NAME,
            engine_version=self._version,
            runtime="bwrap",
            image=spec.image.identity,
            seccomp=seccomp.digest(),
            posture=walls.digest,
            unenforced=missing,
            workspace=spec.copied,
        )
        session = Session(cell.link, facts, {**env, **spec.env}, end)
        probe = posture.OwnerProbe(spec.workspace, layout.owner())
        session.write(probe.name, b"")
        probe.check()
        return session


def _last_line(data: bytes) -> str:
    return (data.decode("utf-8", "backslashreplace").strip().splitlines() or ["no reason given"])[-1][:200]


def _namespaces() -> list[str]:
    return [
        *("--unshare-all", "--unshare-user", "--disable-userns", "--uid", str(UID), "--gid", str(UID)),
        *("--die-with-parent", "--new-session", "--as-pid-1", "--hostname", layout.HOSTNAME, "--cap-drop", "ALL"),
    ]


def arguments(rootfs: Path, spec: Spec, env: Mapping[str, str]) -> list[str]:
    """Return bwrap's arguments: the image read-only, scratch directories, the workspace, PID 1."""
    args = [*_namespaces(), "--clearenv"]
    for name, value in env.items():
        args += ["--setenv", name, value]
    args += ["--ro-bind", str(rootfs), "/"]
    args += ["--proc", "/proc", *_masks(), "--dev", "/dev"]
    args += ["--size", str(layout.SHM_MB * layout.MIB), "--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108
    for where, (size, _, mode) in layout.scratch().items():
        args += ["--size", str(size * layout.MIB), "--perms", mode, "--tmpfs", where]
    args += ["--bind", str(_as_inside(spec)), WORKSPACE, "--remount-ro", "/dev"]
    return [*args, "--chdir", WORKSPACE, "--", *layout.AGENT]


def _as_inside(spec: Spec) -> Path:
    """Return the workspace's path as bubblewrap sees it, in the namespace that it was started in."""
    if spec.namespace is None:
        return spec.workspace
    return Path("/") / spec.workspace.relative_to(f"/proc/{spec.namespace}/root")


def _masks() -> list[str]:
    """Cover what is nobody's business below /proc, and make read-only what could be set there.

    It looks the same from whatever /proc it is bound: a namespace's settings are those of who reads them, and may be
    written by who made the namespace.
    """
    args: list[str] = []
    for where, folder in layout.masked(layout.kernel(), "/proc").items():
        args += ["--tmpfs", where, "--remount-ro", where] if folder else ["--ro-bind", "/dev/null", where]
    for where in layout.read_only(layout.kernel()):
        args += ["--ro-bind", where, where]
    return args


def expected(spec: Spec, env: Mapping[str, str], controllers: Sequence[str] = ()) -> posture.Expected:
    """Return the walls that bubblewrap must show, where control groups hold what `controllers` names."""
    values = {"address space": ("memory", spec.bounds.memory_mb * layout.MIB), "processes": ("pids", spec.bounds.pids)}
    stand_in = {name: f"{value} {value}" for name, (bound, value) in values.items() if bound not in controllers}
    return posture.Expected(
        uid=UID,
        gid=UID,
        groups=_groups(),
        uid_map=f"{UID} 0 1",  # as the outer of bubblewrap's two namespaces counts; `OwnerProbe` sees the host's uid
        environment=frozenset({*env, "PWD"}),
        private=("cgroup", "ipc", "mnt", "net", "pid", "user", "uts"),
        mounts=cell_mounts.expected(),
        limits={**layout.limits(spec), **stand_in},
        held=held.expected(spec.bounds, controllers, held.KERNEL),
    )


def _groups() -> str:
    """Return the groups that are left: none as root; else the caller's own, which it takes root to give up.

    All but the primary one are unmapped inside, and nothing that they open on the host is mounted.
    """
    if layout.is_root():
        return ""
    return " ".join(sorted({str(UID) if gid == os.getegid() else _UNMAPPED for gid in os.getgroups()}))


def reachable(path: Path) -> None:
    """Raise `SandboxError` when the sandbox's user cannot get to the directory `path`."""
    if not layout.is_root():
        return
    for folder in reversed([path, *path.parents]):
        found = folder.stat()
        group = stat.S_IXGRP if found.st_gid == UID else stat.S_IXOTH
        mine = found.st_mode & (stat.S_IXUSR if found.st_uid == UID else group)
        if not mine:
            raise SandboxError(
                f"{path} is not reachable for the sandbox's user (uid {UID}): {folder} is closed to others",
                hint=f"`chmod o+x {folder}`, or keep the cache elsewhere with AGENT_PIPELINE_CACHE",
            )
