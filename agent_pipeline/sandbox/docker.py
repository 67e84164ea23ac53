"""The Docker engine: one hardened container per run, attached to before it starts, gone when we hang up.

The engine must be on this host: the workspace is a directory of this host. No string of an agent reaches the engine;
image, mounts, working directory and entry point are ours. Two clients: a wedged call holds its connection, so killing
and removing have one of their own, with a short patience (moby/moby#41827).
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final, Literal

from agent_pipeline import clock
from agent_pipeline.config import Config
from agent_pipeline.documents.provenance import SandboxFacts
from agent_pipeline.errors import RejectedError, SandboxError
from agent_pipeline.sandbox import cgroups, intents, layout, posture, seccomp
from agent_pipeline.sandbox.contract import WORKSPACE, Spec
from agent_pipeline.sandbox.links import AttachedLink
from agent_pipeline.sandbox.session import Session, greet
from agent_pipeline.sandbox.starting import to_its_end

NAME: Final = "docker"
LABEL: Final = "agent-pipeline"
_WORKING, _ENDING = 60, 10  # seconds that the engine has for a call
_GONE: Final = 15.0
_BEING_MADE: Final = 3.0
_CONFLICT: Final = 409


class Docker:
    """Implements `contract.Engine`."""

    name = NAME
    reach: Literal["host", "namespace"] = "host"

    def __init__(self, config: Config) -> None:
        """Take the configuration; the engine is not asked yet."""
        self._config = config

    @cached_property
    def _sdk(self) -> Any:  # noqa: ANN401 - docker.DockerClient, imported late
        return _connect(_WORKING)

    @property
    def _client(self) -> Any:  # noqa: ANN401 - docker.APIClient: what the SDK's comfortable half has no words for
        return self._sdk.api

    @cached_property
    def _info(self) -> dict[str, Any]:
        client = _connect(_ENDING)  # with the short patience: an engine that says nothing is none
        with contextlib.closing(client):
            info: dict[str, Any] = _asking(client.api.info)
        return info

    def available(self) -> str | None:
        """Return None when the engine answers, is on this host and runs Linux containers, else why not."""
        try:
            info = self._info
        except SandboxError as error:
            return error.message
        if info.get("OSType") != "linux":
            return f"the Docker engine runs {info.get('OSType')} containers; Linux is needed"
        if not any(str(option).startswith("name=seccomp") for option in info.get("SecurityOptions") or ()):
            return "the Docker engine has no seccomp, and no sandbox is without it"
        return None

    def unenforced(self) -> tuple[str, ...]:
        """Return the bounds that the engine says it cannot hold, and disk without root."""
        controllers = {"memory": "MemoryLimit", "pids": "PidsLimit", "cpu": "CpuCfsQuota"}
        missing = [name for name, key in controllers.items() if not self._info.get(key)]
        return tuple(missing) if layout.is_root() else (*missing, "disk")

    def explain(self) -> tuple[str, ...]:
        """Return what holds each bound here, in lines for people."""
        info, missing = self._info, self.unenforced()
        held = [name for name in cgroups.CONTROLLERS if name not in missing]
        runtimes = ", ".join(sorted(info.get("Runtimes") or ()))
        lines = [
            f"version {info.get('ServerVersion')}; runtimes {runtimes}, by default {info.get('DefaultRuntime')}",
            f"{', '.join(held) or 'nothing'}: by the engine's control groups, version {info.get('CgroupVersion', '1')}",
        ]
        lost = [name for name in missing if name != "disk"]
        return (
            (*lines, f"{', '.join(lost)}: not held, the engine's kernel lacks the controllers") if lost else (*lines,)
        )

    def start(self, spec: Spec) -> Session:
        """Start a sandbox and let it prove its walls. Raises `SandboxError`; nothing is left behind then."""
        return to_its_end(lambda: self._start(spec), Session.close)

    def _start(self, spec: Spec) -> Session:
        from agent_pipeline.sandbox.images import docker_load  # noqa: PLC0415 - brings the archive code, only needed here

        missing = tuple(name for name in self.unenforced() if name != "disk")
        if not layout.disk_is_bounded(spec.workspace, spec.bounds.disk_mb):
            missing += ("disk",)
        layout.refuse(spec, missing)
        image = docker_load.ensure(self._sdk, spec.image)
        env = layout.environment(spec.image)
        container = Container(self._client, f"agent-pipeline-{spec.run}-{secrets.token_hex(4)}")
        intents.sweep(self._config.runs, {"container": remove})
        with intents.intent(self._config.runs, "container", (container.name,)):
            try:
                container.start(_configuration(self._client, container.name, spec, image))
                return self._prove(container, spec, env, missing)
            except BaseException as error:
                reason = container.end()
                if isinstance(error, SandboxError) and reason:
                    raise SandboxError(f"{error.message}: {reason}", hint=error.hint) from error
                raise

    def _prove(self, container: Container, spec: Spec, env: Mapping[str, str], missing: tuple[str, ...]) -> Session:
        link = container.link
        report = greet(link, seconds=spec.bounds.seconds, processes=None, timeout=layout.READY_SECONDS)
        walls = posture.check(report, expected(spec, env))
        facts = SandboxFacts(
            backend=NAME,
            engine_version=str(self._info.get("ServerVersion", "")),
            runtime=spec.runtime or str(self._info.get("DefaultRuntime", "")),
            image=spec.image.identity,
            seccomp=seccomp.digest(),
            posture=walls.digest,
            unenforced=missing,
        )
        session = Session(link, facts, {**env, **spec.env}, container.end)
        probe = posture.OwnerProbe(spec.workspace, layout.owner())
        session.write(probe.name, b"")
        probe.check()
        return session


class Container:
    """A container by its name, which is known before it exists: whatever happens, it can be removed."""

    def __init__(self, client: Any, name: str) -> None:  # noqa: ANN401 - docker.APIClient
        """Name it; nothing exists yet."""
        self.name, self._client = name, client
        self._link: AttachedLink | None = None
        self._ended = False

    @property
    def link(self) -> AttachedLink:
        """The stream to PID 1. Raises `SandboxError` before `start`."""
        if self._link is None:
            raise SandboxError("the container was not started")
        return self._link

    def start(self, configuration: dict[str, Any]) -> None:
        """Create, attach, start: in that order, so that PID 1 never runs unattached. Raises `SandboxError`."""
        _asking(lambda: self._client.create_container_from_config(configuration, self.name))
        self._link = AttachedLink(_asking(lambda: _attach(self._client, self.name)))
        _asking(lambda: self._client.start(self.name))

    def end(self) -> str | None:
        """Hang up, kill, and wait until the engine has removed it; return why it had ended.

        Idempotent, bounded in time.
        """
        if self._ended:
            return None
        self._ended = True
        said = self._link.complaints() if self._link else ""
        if self._link:
            self._link.close()
        reason = self._remove()
        return reason or said[-500:] or None

    def _remove(self) -> str | None:
        from docker.errors import APIError, NotFound  # noqa: PLC0415 - 200 ms that the command line does not need

        client, until, reason = _connect(_ENDING), clock.monotonic() + _GONE, None
        with contextlib.closing(client):
            while clock.monotonic() < until:
                try:
                    state = client.api.inspect_container(self.name)["State"]
                    reason = "it ran out of memory" if state.get("OOMKilled") else reason
                    client.api.remove_container(self.name, force=True, v=True)
                except NotFound:
                    return reason
                except (APIError, OSError):
                    clock.sleep(0.02)  # "removal is already in progress": the engine's own, after we hung up
        raise SandboxError(
            f"the container {self.name} cannot be removed", hint=f"look at it with `docker rm --force {self.name}`"
        )


def remove(name: str) -> None:
    """Remove a container that lost its owner before it was started. Raises `SandboxError`.

    The engine may still be making it for a client that is dead: it is waited for, a moment longer than that takes.
    """
    until = clock.monotonic() + _BEING_MADE
    with contextlib.closing(_connect(_ENDING)) as client:
        while not _there(client, name):
            if clock.monotonic() > until:
                return
            clock.sleep(0.05)
    Container(None, name).end()


def _there(client: Any, name: str) -> bool:  # noqa: ANN401 - docker.DockerClient
    return bool(_asking(lambda: client.api.containers(all=True, quiet=True, filters={"name": f"^/{name}$"})))


def remove_image(name: str) -> bool:
    """Remove an image by its name; return whether it was there. Raises `RejectedError` while a container uses it.

    Raises `SandboxError` when the engine cannot be asked.
    """
    from docker.errors import APIError, ImageNotFound  # noqa: PLC0415 - 200 ms that the command line does not need

    with contextlib.closing(_connect(_WORKING)) as client:
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
    with contextlib.closing(_connect(_ENDING)) as client:
        return bool(_asking(lambda: client.api.containers(all=True, quiet=True, filters={"ancestor": name})))


def _connect(seconds: int) -> Any:  # noqa: ANN401 - docker.DockerClient, imported late
    """Return a client of the engine that the environment names, on this host only. Raises `SandboxError`."""
    from docker import DockerClient  # noqa: PLC0415 - 200 ms that the command line does not need
    from docker.utils import kwargs_from_env  # noqa: PLC0415 - the same

    address = kwargs_from_env().get("base_url")
    if address is not None and not address.startswith("unix://"):
        raise SandboxError(
            "the Docker engine that DOCKER_HOST names is not on this host, where the workspace is",
            hint="unset DOCKER_HOST, or give it the socket of an engine on this host",
        )
    return _asking(lambda: DockerClient(base_url=address, version="auto", timeout=seconds))


def _asking(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the engine answers
    """Call the engine, and turn what its library raises into `SandboxError`."""
    import requests  # noqa: PLC0415 - comes with docker
    from docker.errors import DockerException  # noqa: PLC0415 - 200 ms that the command line does not need

    try:
        return call()
    except (DockerException, requests.RequestException, OSError) as error:
        text = " ".join(str(error).split())[:300]
        raise SandboxError(
            f"the Docker engine does not do its part: {text}", hint="`docker info` shows whether it is running"
        ) from error


def _attach(client: Any, name: str) -> socket.socket:  # noqa: ANN401 - docker.APIClient
    """Attach stdin, stdout and stderr, and return a socket of our own to them."""
    stream = client.attach_socket(name, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    own = socket.socket(fileno=socket.dup(stream.fileno()))
    stream._sock.close()  # noqa: SLF001 - the SDK would keep the connection open behind our back
    stream.close()
    return own


def _configuration(client: Any, name: str, spec: Spec, image: str) -> dict[str, Any]:  # noqa: ANN401 - docker.APIClient
    """Return everything about the container."""
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
        host_config=_host(client, spec),
    )
    return configuration


def _host(client: Any, spec: Spec) -> dict[str, Any]:  # noqa: ANN401 - docker.APIClient
    from docker.types import LogConfig, Mount, Ulimit  # noqa: PLC0415 - 200 ms that the command line does not need

    size, memory = layout.file_limit(spec), f"{spec.bounds.memory_mb}m"
    ulimits = {"core": 0, "memlock": 0, "msgqueue": 0, "nofile": layout.OPEN_FILES, "fsize": size}
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
        mounts=[Mount(WORKSPACE, str(spec.workspace), type="bind", propagation="rprivate")],
        auto_remove=True,
        restart_policy={"Name": "no"},
        log_config=LogConfig(type="none"),
        runtime=spec.runtime,
    )
    host["MaskedPaths"], host["ReadonlyPaths"] = list(layout.MASKED), list(layout.READ_ONLY)
    return host


def _scratch() -> dict[str, str]:
    mine = f",uid={layout.owner()},gid={layout.group()}"
    return {
        where: f"rw,nosuid,nodev,exec,size={size}m,nr_inodes={inodes},mode={mode}{'' if mode == '1777' else mine}"
        for where, (size, inodes, mode) in layout.scratch().items()
    }


def expected(spec: Spec, env: Mapping[str, str]) -> posture.Expected:
    """Return the walls that a container must show."""
    closed = frozenset({"rw", "nosuid", "nodev"})
    writable = {
        where: closed | {f"size={size * 1024}k", f"nr_inodes={inodes}"}
        for where, (size, inodes, _) in layout.scratch().items()
    }
    writable |= {"/dev/shm": closed | {"noexec", f"size={layout.SHM_MB * 1024}k"}, WORKSPACE: frozenset({"rw"})}  # noqa: S108
    return posture.Expected(
        uid=layout.owner(),
        gid=layout.group(),
        groups=str(layout.group()),
        uid_map="0 0 4294967295",
        environment=frozenset({*env, "HOSTNAME"}),
        private=("cgroup", "ipc", "mnt", "net", "pid", "uts"),
        writable=writable,
        kernel={
            "/proc": closed | {"noexec"},
            "/dev": frozenset({"nosuid"}),
            "/dev/pts": frozenset({"nosuid", "noexec"}),
            "/dev/mqueue": closed | {"noexec"},
            "/sys/fs/cgroup": closed | {"noexec"},  # version 1: the directory of the hierarchies, each read-only
            **dict.fromkeys(layout.masked(), frozenset({"nosuid"})),  # /dev/null, which may be written to
        },
        limits=layout.limits(spec),
    )
