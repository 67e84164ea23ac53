"""The Docker engine: one hardened container per run, attached to before it starts, gone when we hang up.

The workspace is a directory of this host where the engine sees it, else it goes there and comes back as an archive. No
string of an agent reaches the engine; image, mounts, working directory and entry point are ours.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from typing import Any, Final, Literal

from agent_pipeline.config import Config
from agent_pipeline.documents.provenance import SandboxFacts
from agent_pipeline.errors import RejectedError, SandboxError
from agent_pipeline.sandbox import cgroups, container_mounts, held, intents, layout, posture, seccomp
from agent_pipeline.sandbox.container import ENDING, LABEL, REMOVERS, WORKING, Container, asking, connect
from agent_pipeline.sandbox.contract import WORKSPACE, Spec
from agent_pipeline.sandbox.far_container import FarContainer
from agent_pipeline.sandbox.mounts import Mount
from agent_pipeline.sandbox.session import Session, greet
from agent_pipeline.sandbox.starting import to_its_end

NAME: Final = "docker"
_CONFLICT: Final = 409


class Docker:
    """Implements `contract.Engine`."""

    name = NAME
    reach: Literal["host", "namespace"] = "host"

    def __init__(self, config: Config) -> None:
        """Take the configuration; the engine is not asked yet."""
        self._config, self._elsewhere, self._out_of_reach = config, False, False

    @cached_property
    def _sdk(self) -> Any:  # noqa: ANN401 - docker.DockerClient, imported late
        return connect(WORKING)

    @property
    def _client(self) -> Any:  # noqa: ANN401 - docker.APIClient: what the SDK's comfortable half has no words for
        return self._sdk.api

    @cached_property
    def _info(self) -> dict[str, Any]:
        client = connect(ENDING)  # with the short patience: an engine that says nothing is none
        with contextlib.closing(client):
            info: dict[str, Any] = asking(client.api.info)
        return info

    @property
    def _cgroup_version(self) -> int:
        """The version of the control groups over there; engines that know of one only do not say."""
        return int(self._info.get("CgroupVersion") or 1)

    def available(self) -> str | None:
        """Return None when the engine answers, is on this host and runs Linux containers, else why not."""
        try:
            info = self._info
        except SandboxError as error:
            return "; ".join(filter(None, (error.message, error.hint)))
        if info.get("OSType") != "linux":
            return f"the Docker engine runs {info.get('OSType')} containers; Linux is needed"
        return _unsuitable({str(option).split(",")[0] for option in info.get("SecurityOptions") or ()})

    def unenforced(self) -> tuple[str, ...]:
        """Return the bounds that the engine says it cannot hold, what we cannot where it does not, and disk."""
        controllers = {"memory": "MemoryLimit", "pids": "PidsLimit", "cpu": "CpuCfsQuota", cgroups.SWAP: "SwapLimit"}
        there = [name for name, key in controllers.items() if self._info.get(key)]
        missing = cgroups.missing([*there, *((cgroups.SOCKETS,) if self._sockets_are_bounded else ())])
        return tuple(missing) if layout.is_root() else (*missing, "disk")

    @property
    def _sockets_are_bounded(self) -> bool:
        """Whether what is queued on sockets is: by the engine's memory bound in version 2, by us in version 1.

        Whether the engine's groups are within our reach shows with its first container, and holds from then on.
        """
        if self._cgroup_version != 1:  # by the kernel's own word, and an engine elsewhere has another kernel
            return bool(self._info.get("MemoryLimit")) and not self._elsewhere and cgroups.sockets_are_memory()
        return not self._out_of_reach and cgroups.sockets_can_be_bounded()

    def explain(self) -> tuple[str, ...]:
        """Return what holds each bound here, in lines for people."""
        info, missing = self._info, self.unenforced()
        first = self._cgroup_version == 1
        holding = [name for name in cgroups.holding(missing) if not (first and name == cgroups.SOCKETS)]
        runtimes = ", ".join(sorted(info.get("Runtimes") or ()))
        lines = [
            f"version {info.get('ServerVersion')}; runtimes {runtimes}, by default {info.get('DefaultRuntime')}",
            f"{', '.join(holding) or 'nothing'}: by the engine's control groups, version {self._cgroup_version}",
        ]
        if cgroups.SOCKETS in missing:
            why = "the engine sets no such bound in version 1, and its groups are not ours"
            lines.append(f"sockets: not held, {why if first else 'nothing shows that its kernel counts them'}")
        elif first:
            lines.append("sockets: by a bound of ours in the engine's control groups")
        if lost := [name for name in missing if name not in {"disk", cgroups.SOCKETS}]:
            lines.append(f"{', '.join(lost)}: not held, the engine's kernel lacks the controllers")
        return tuple(lines)

    def start(self, spec: Spec) -> Session:
        """Start a sandbox and let it prove its walls. Raises `SandboxError`; nothing is left behind then."""
        return to_its_end(lambda: self._start(spec), Session.close)

    def _start(self, spec: Spec) -> Session:
        from agent_pipeline.sandbox.images import docker_load  # noqa: PLC0415 - brings the archive code, only needed here

        if why := self.available():
            raise SandboxError(why, hint="`agent-pipeline doctor` says what works here")
        missing = tuple(name for name in self.unenforced() if name != "disk")
        if not layout.disk_is_bounded(spec.workspace, spec.bounds.disk_mb):
            missing += ("disk",)
        layout.refuse(spec, missing)
        image = docker_load.ensure(self._sdk, spec.image)
        intents.sweep(self._config.runs, REMOVERS)
        if not self._elsewhere:
            try:
                return self._begin(Container, spec, image, missing)
            except posture.ElsewhereError:
                self._elsewhere = True  # tried, not guessed from an address: it holds for this engine from now on
        missing = tuple(name for name in self.unenforced() if name != "disk")  # which is the tmpfs over there
        layout.refuse(spec, missing)
        return self._begin(FarContainer, spec, image, missing)

    def _begin(self, kind: type[Container], spec: Spec, image: str, missing: tuple[str, ...]) -> Session:
        """Start one container and let it prove its walls; whatever goes wrong, it is gone."""
        container = kind(self._client, f"agent-pipeline-{spec.run}-{secrets.token_hex(4)}", spec)

        def configured(name: str, workspace: Mapping[str, Any]) -> dict[str, Any]:
            return _configuration(self._client, name, spec, image, workspace)

        lease = contextlib.ExitStack()

        def end() -> str | None:
            reason = container.end()
            lease.close()  # only now that it is gone: else a sweep has to know of it
            return reason

        written = lease.enter_context(intents.intent(self._config.runs, "container", container.names))
        try:
            container.begin(configured)
            written.made()
            return self._prove(container, spec, missing, end)
        except BaseException as error:
            reason = end()
            if isinstance(error, SandboxError) and reason:
                raise SandboxError(f"{error.message}: {reason}", hint=error.hint) from error
            raise

    def _prove(
        self, container: Container, spec: Spec, missing: tuple[str, ...], end: Callable[[], str | None]
    ) -> Session:
        link, env = container.link, layout.environment(spec.image)
        report = greet(link, seconds=spec.bounds.seconds, processes=None, timeout=layout.READY_SECONDS)
        missing = self._bound_sockets(container, missing)
        layout.refuse(spec, missing)
        there = container_mounts.expected(self._cgroup_version, container.kernel())
        controllers = cgroups.holding(missing)
        found = container.held(controllers)
        walls = posture.check(
            report,
            found,
            expected(
                spec,
                env,
                {**there, WORKSPACE: container.workspace()},
                held.expected(spec.bounds, controllers, found["held.by"]),
            ),
        )
        facts = SandboxFacts(
            backend=NAME,
            engine_version=str(self._info.get("ServerVersion", "")),
            runtime=spec.runtime or str(self._info.get("DefaultRuntime", "")),
            image=spec.image.identity,
            seccomp=seccomp.digest(),
            posture=walls.digest,
            unenforced=missing,
            workspace=container.carried,
        )
        session = Session(container.shorter(), facts, {**env, **spec.env}, end, container.fetch)
        container.check_owner(session)
        return session

    def _bound_sockets(self, container: Container, missing: tuple[str, ...]) -> tuple[str, ...]:
        """Bound the container's sockets where the engine does not; return what is then not held."""
        if self._cgroup_version != 1 or cgroups.SOCKETS in missing or container.bound_sockets():
            return missing
        self._out_of_reach = True
        return tuple(name for name in (*cgroups.BOUNDED, "disk") if name in {*missing, cgroups.SOCKETS})


def _unsuitable(options: Collection[str]) -> str | None:
    """Return why an engine with these security options is no engine for sandboxes, None when it is one.

    Where users are remapped, the workload is somebody who can write to no directory of ours, and owns nothing here.
    """
    if "name=seccomp" not in options:
        return "the Docker engine has no seccomp, and no sandbox is without it"
    if "name=rootless" in options:
        return "the Docker engine is rootless: it maps users, and a sandbox could not write to its copy; use bubblewrap"
    if "name=userns" in options:
        return (
            "the Docker engine maps users (userns-remap), and a sandbox could not write to its copy; take "
            "`userns-remap` out of /etc/docker/daemon.json, or use bubblewrap"
        )
    return None


def remove_image(name: str) -> bool:
    """Remove an image by its name; return whether it was there. Raises `RejectedError` while a container uses it.

    Raises `SandboxError` when the engine cannot be asked.
    """
    from docker.errors import APIError, ImageNotFound  # noqa: PLC0415 - 200 ms that the command line does not need

    with contextlib.closing(connect(WORKING)) as client:
        try:
            client.api.remove_image(name, force=False)
        except ImageNotFound:
            return False
        except APIError as error:
            if error.status_code == _CONFLICT:
                raise RejectedError(f"a container uses the image {name}", hint="wait for its end") from error
            raise SandboxError(f"the Docker engine keeps {name}: {error.explanation}") from error
        except OSError as error:
            raise SandboxError("the Docker engine does not answer") from error
    return True


def uses_image(name: str) -> bool:
    """Whether the engine has a container of the image with that name. Raises `SandboxError` when it cannot be asked."""
    with contextlib.closing(connect(ENDING)) as client:
        return bool(asking(lambda: client.api.containers(all=True, quiet=True, filters={"ancestor": name})))


def _configuration(
    client: Any,  # noqa: ANN401 - docker.APIClient
    name: str,
    spec: Spec,
    image: str,
    workspace: Mapping[str, Any],
) -> dict[str, Any]:
    """Return everything about the container; `workspace` is what of its host configuration has that."""
    configuration: dict[str, Any] = client.create_container_config(
        image,
        command=[],
        entrypoint=list(layout.AGENT),
        user=f"{layout.owner()}:{layout.group()}",
        working_dir=WORKSPACE,
        hostname=layout.HOSTNAME,
        stdin_open=True,
        tty=False,
        network_disabled=True,
        healthcheck={"test": ["NONE"]},
        labels={LABEL: "1", f"{LABEL}.run": spec.run, f"{LABEL}.name": name},
        host_config=_host(client, spec, workspace),
    )
    return configuration


def _host(client: Any, spec: Spec, workspace: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - docker.APIClient
    from docker.types import LogConfig, Ulimit  # noqa: PLC0415 - 200 ms that the command line does not need

    size, memory = layout.file_limit(spec), f"{spec.bounds.memory_mb}m"
    ulimits = dict.fromkeys(("core", "memlock", "msgqueue", "nice", "rtprio"), 0)
    ulimits |= {"nofile": layout.OPEN_FILES, "fsize": size}
    host: dict[str, Any] = client.create_host_config(
        read_only=True,
        init=False,
        cap_drop=["ALL"],
        privileged=False,
        security_opt=["no-new-privileges:true", f"seccomp={json.dumps(json.loads(seccomp.profile()))}"],
        network_mode="none",
        ipc_mode="private",
        cgroupns="private",
        pids_limit=spec.bounds.pids,
        mem_limit=memory,
        memswap_limit=memory,
        nano_cpus=int(float(spec.bounds.cpus) * 1e9),
        oom_score_adj=500,
        shm_size=f"{layout.SHM_MB}m",
        tmpfs=_scratch(),
        ulimits=[Ulimit(name=name, soft=value, hard=value) for name, value in ulimits.items()],
        auto_remove=True,
        restart_policy={"Name": "no"},
        log_config=LogConfig(type="none"),
        runtime=spec.runtime,
        **workspace,
    )
    host["MaskedPaths"], host["ReadonlyPaths"] = list(layout.MASKED), list(layout.READ_ONLY)
    return host


def _scratch() -> dict[str, str]:
    mine = f",uid={layout.owner()},gid={layout.group()}"
    return {
        where: f"rw,nosuid,nodev,exec,size={size}m,nr_inodes={inodes},mode={mode}{'' if mode == '1777' else mine}"
        for where, (size, inodes, mode) in layout.scratch().items()
    }


def expected(
    spec: Spec, env: Mapping[str, str], mounts: Mapping[str, Mount], held_by: Mapping[str, str]
) -> posture.Expected:
    """Return the walls that a container must show, with these mounts, held by these bounds."""
    return posture.Expected(
        uid=layout.owner(),
        gid=layout.group(),
        groups=str(layout.group()),
        uid_map="0 0 4294967295",
        environment=frozenset({*env, "HOSTNAME"}),
        private=("cgroup", "ipc", "mnt", "net", "pid", "uts"),
        mounts=mounts,
        limits=layout.limits(spec),
        held=held_by,
    )
