"""A container by its name, and the engine that it is asked of, in one place: what it takes to make, end and remove one.

Two clients: a wedged call holds its connection, so killing and removing have one of their own, with a short patience
(moby/moby#41827).
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from agent_pipeline import clock
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import addresses, cgroups, container_mounts, held, layout, pipes, posture
from agent_pipeline.sandbox.contract import WORKSPACE, Spec
from agent_pipeline.sandbox.links import AttachedLink, Link
from agent_pipeline.sandbox.mounts import Mount
from agent_pipeline.sandbox.posture import ElsewhereError
from agent_pipeline.sandbox.session import Session

LABEL: Final = "agent-pipeline"
WORKING: Final = 60  # seconds that the engine has for a call
ENDING: Final = 10
GONE: Final = 15.0
_BEING_MADE: Final = 3.0
_NOT_HERE: Final = re.compile(
    r"bind source path does not exist|creating mount source path|mounts denied|is not shared", re.IGNORECASE
)
_NO_RUNTIME: Final = re.compile(r"unknown (?:or invalid )?runtime", re.IGNORECASE)
Configured = Callable[[str, Mapping[str, Any]], dict[str, Any]]  # from a name and where the workspace is


def bound(spec: Spec) -> dict[str, Any]:
    """Return a host configuration's part that makes the workspace a directory of this host."""
    from docker.types import Mount  # noqa: PLC0415 - 200 ms that the command line does not need

    return {"mounts": [Mount(WORKSPACE, str(spec.workspace), type="bind", propagation="rprivate")]}


class Container:
    """A container by its name, which is known before it exists: whatever happens, it can be removed."""

    def __init__(self, client: Any, name: str, spec: Spec | None = None) -> None:  # noqa: ANN401 - docker.APIClient
        """Name it; nothing exists yet. One that is only to be removed has no `spec`."""
        self.name, self._spec, self._client = name, spec, client
        self._link: AttachedLink | None = None
        self._ended, self._proven = False, False

    @property
    def spec(self) -> Spec:
        """What is started. Raises `SandboxError` for one that is only to be removed."""
        if self._spec is None:
            raise SandboxError(f"nothing is known of the container {self.name}")
        return self._spec

    @property
    def carried(self) -> str:
        """What its workspace is, as `SandboxFacts` says it."""
        return self.spec.copied

    @property
    def link(self) -> AttachedLink:
        """The stream to PID 1. Raises `SandboxError` before `start`."""
        if self._link is None:
            raise SandboxError("the container was not started")
        return self._link

    @property
    def names(self) -> tuple[str, ...]:
        """What has to be removed when we die before it is started."""
        return (self.name,)

    def begin(self, configured: Configured) -> None:
        """Start it on a bind mount of the workspace. Raises `ElsewhereError` when the engine does not see that."""
        self.start(configured(self.name, bound(self.spec)))

    def kernel(self) -> Mapping[str, bool]:
        """Return what must be covered of its /proc and /sys, as `layout.kernel` does."""
        return layout.kernel()

    def workspace(self) -> Mount:
        """Return the mount that its workspace must be."""
        return container_mounts.NEAR

    def held(self, controllers: Sequence[str]) -> Mapping[str, str]:
        """Return by what control groups hold its PID 1, of `controllers`: as the kernel has it, where that shows here.

        Raises `SandboxError`.
        """
        facts = held.by_kernel(int(self._made["State"]["Pid"]), str(self._made["Id"]), controllers)
        return held.by_engine(self._made["HostConfig"], controllers) if facts == held.nobody() else facts

    def bound_sockets(self) -> bool:
        """Bound what its sockets queue, which the engine does not in control groups of version 1.

        Before anything untrusted runs. Return whether it is bounded: not where the groups do not show here, or are not
        ours to write. Raises `SandboxError`.
        """
        pid = int(self._made["State"]["Pid"])
        if not pid:
            raise SandboxError("the sandbox is gone")
        return cgroups.bound_sockets(Path("/proc") / str(pid), str(self._made["Id"]), self.spec.bounds)

    @cached_property
    def _made(self) -> dict[str, Any]:
        """What the engine says of it once it runs."""
        found: dict[str, Any] = asking(lambda: self._client.inspect_container(self.name))
        return found

    def start(self, configuration: dict[str, Any]) -> None:
        """Create, attach, start: in that order, so that PID 1 never runs unattached. Raises `SandboxError`."""
        try:
            asking(lambda: self._client.create_container_from_config(configuration, self.name))
            self._link = AttachedLink(asking(lambda: _attach(self._client, self.name)))
            asking(lambda: self._client.start(self.name))
        except SandboxError as error:
            if _NOT_HERE.search(error.message):
                raise ElsewhereError(error.message, hint=error.hint) from error
            if _NO_RUNTIME.search(error.message):
                raise SandboxError(
                    f"the Docker engine has no runtime {self.spec.runtime}, which the policy asks for",
                    hint=f"it has {self._runtimes()}; `sandbox.runtime` in the policy says which one is used",
                ) from error
            raise

    def _runtimes(self) -> str:
        found = asking(self._client.info)
        return ", ".join(sorted(found.get("Runtimes") or ())) or "none that it names"

    def shorter(self) -> Link:
        """Return the shortest way to PID 1, which has proven its walls. Raises `SandboxError`."""
        return pipes.shorter(self.link, self.spec.workspace)

    def fetch(self) -> None:
        """Bring the workspace to this host, where it is not there anyway. Raises `SandboxError`."""

    def check_owner(self, session: Session) -> None:
        """Look at a file that the sandbox makes: where it arrives and whose it is. Raises `SandboxError`."""
        probe = posture.OwnerProbe(self.spec.workspace, layout.owner())
        session.write(probe.name, b"")
        probe.check()
        self._proven = True

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
        if self._proven:
            self.fetch()  # dead and gone: nothing changes any more
        return reason or said[-500:] or None

    def _remove(self) -> str | None:
        from docker.errors import APIError, NotFound  # noqa: PLC0415 - 200 ms that the command line does not need

        client, until, reason = connect(ENDING), clock.monotonic() + GONE, None
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
    """Remove a container that lost its owner while it was made. Raises `SandboxError`.

    The engine may still be making it for a client that is dead: it is waited for, a moment longer than that takes.
    """
    until = clock.monotonic() + _BEING_MADE
    with contextlib.closing(connect(ENDING)) as client:
        while not there(client, name):
            if clock.monotonic() > until:
                return
            clock.sleep(0.05)
    remove_made(name)


def remove_made(name: str) -> None:
    """Remove a container that lost its owner, if it is still there. Raises `SandboxError`."""
    Container(None, name).end()


REMOVERS: Final = {"container": remove, "made container": remove_made}


def labelled() -> tuple[str, ...]:
    """Return the names of all containers of sandboxes that the engine has, whoever's. Raises `SandboxError`."""
    with contextlib.closing(connect(ENDING)) as client:
        found = asking(lambda: client.api.containers(all=True, filters={"label": f"{LABEL}=1"}))
    return tuple(sorted(one["Labels"].get(f"{LABEL}.name", one["Id"][:12]) for one in found))


def there(client: Any, name: str) -> bool:  # noqa: ANN401 - docker.DockerClient
    """Whether the engine has a container of that name. Raises `SandboxError`."""
    return bool(asking(lambda: client.api.containers(all=True, quiet=True, filters={"name": f"^/{name}$"})))


def connect(seconds: int) -> Any:  # noqa: ANN401 - docker.DockerClient, imported late
    """Return a client of the engine that the environment names. Raises `SandboxError`."""
    from docker import DockerClient  # noqa: PLC0415 - 200 ms that the command line does not need

    address = addresses.reached(ENDING)  # first: the SDK would leave a socket of its own open
    return asking(lambda: DockerClient(base_url=address, version="auto", timeout=seconds))


def asking(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the engine answers
    """Call the engine, and turn what its library raises into `SandboxError`."""
    import requests  # noqa: PLC0415 - comes with docker
    from docker.errors import DockerException  # noqa: PLC0415 - 200 ms that the command line does not need

    try:
        return call()
    except (DockerException, requests.RequestException, OSError) as error:
        text = " ".join(str(getattr(error, "explanation", None) or error).split())[:300]  # without the request's URL
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
