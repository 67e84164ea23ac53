"""A container by its name, and the engine that it is asked of, in one place: what it takes to make, end and remove one.

Two clients: a wedged call holds its connection, so killing and removing have one of their own, with a short patience
(moby/moby#41827).
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from agent_pipeline import clock
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import container_mounts, frames, held, layout, parcels, pipes, posture, returning
from agent_pipeline.sandbox.contract import WORKSPACE, Spec
from agent_pipeline.sandbox.links import AttachedLink, Link
from agent_pipeline.sandbox.mounts import Mount
from agent_pipeline.sandbox.posture import ElsewhereError
from agent_pipeline.sandbox.session import Session, greet

LABEL: Final = "agent-pipeline"
WORKING: Final = 60  # seconds that the engine has for a call
ENDING: Final = 10
_GONE: Final = 15.0
_BEING_MADE: Final = 3.0
_RETURN: Final = 300.0
_LEAST: Final = 16_384
_BYTES_PER_FILE: Final = 4096  # as the bounded space of a copy on this host has it
_DEFAULT: Final = "unix:///var/run/docker.sock"
_LOOPBACK: Final = re.compile(r"\A(?:tcp|http)://(?:127\.[0-9.]+|localhost|\[::1\])(?::[0-9]+)?/?\Z")
_NOT_HERE: Final = re.compile(
    r"bind source path does not exist|creating mount source path|mounts denied|is not shared", re.IGNORECASE
)


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
        found = asking(lambda: self._client.inspect_container(self.name))
        facts = held.by_kernel(int(found["State"]["Pid"]), str(found["Id"]), controllers)
        return held.by_engine(found["HostConfig"], controllers) if facts == held.nobody() else facts

    def start(self, configuration: dict[str, Any]) -> None:
        """Create, attach, start: in that order, so that PID 1 never runs unattached. Raises `SandboxError`."""
        try:
            asking(lambda: self._client.create_container_from_config(configuration, self.name))
        except SandboxError as error:
            if _NOT_HERE.search(error.message):
                raise ElsewhereError(error.message, hint=error.hint) from error
            raise
        self._link = AttachedLink(asking(lambda: _attach(self._client, self.name)))
        asking(lambda: self._client.start(self.name))

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

        client, until, reason = connect(ENDING), clock.monotonic() + _GONE, None
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


class FarContainer(Container):
    """A container of an engine that does not see this host's files: the workspace goes there and comes back as a tar.

    It lies in a tmpfs of `disk_mb`, which is there as long as a container has it: a second one, the holder, in which
    nothing ever runs but PID 1. It is read through the holder when the sandbox is dead: nothing changes meanwhile.
    """

    def __init__(self, client: Any, name: str, spec: Spec | None = None) -> None:  # noqa: ANN401 - docker.APIClient
        """Name it; nothing exists yet."""
        super().__init__(client, name, spec)
        self._holder = Container(client, f"{name}-holder", spec)
        self._names = 0

    @property
    def names(self) -> tuple[str, ...]:
        """As `Container`."""
        return (self.name, self._holder.name)

    def begin(self, configured: Configured) -> None:
        """Start the holder, put the workspace into it, and start the other beside it. Raises `SandboxError`."""
        from docker.types import DriverConfig, Mount  # noqa: PLC0415 - 200 ms that the command line does not need

        size, owner = f"size={self.spec.bounds.disk_mb}m", f"uid={layout.owner()},gid={layout.group()},mode=0755"
        self._names = self._room()
        options = {"type": "tmpfs", "device": "tmpfs", "o": f"{size},nr_inodes={self._names},{owner},nosuid,nodev"}
        volume = Mount(WORKSPACE, None, type="volume", no_copy=True, driver_config=DriverConfig("local", options))
        self._fill(configured(self._holder.name, {"mounts": [volume]}))
        self.start(configured(self.name, {"volumes_from": [self._holder.name]}))

    def _room(self) -> int:
        """Return how many names the workspace may have: as for a copy on this host, and twice what is there now."""
        there = sum(len(folders) + len(files) for _, folders, files in os.walk(self.spec.workspace))
        return 2 * there + max(_LEAST, (self.spec.bounds.disk_mb << 20) // _BYTES_PER_FILE)

    def kernel(self) -> Mapping[str, bool]:
        """As `Container`, of the kernel that is over there."""
        deadline, listings = clock.monotonic() + layout.READY_SECONDS, {}
        for top in ("/proc", "/sys"):
            answer = frames.ask(self.link, frames.LIST, [top.encode()], limit=2 * frames.NAMES_LIMIT, deadline=deadline)
            listings[top] = frames.names(frames.expect(answer, frames.NAMES, top))
        return layout.kernel(listings)

    def workspace(self) -> Mount:
        """As `Container`: what bounds the disk, over there too."""
        return container_mounts.far(self.spec.bounds, self._names)

    def shorter(self) -> Link:
        """As `Container`: there is no directory that both sides see."""
        return self.link

    def _fill(self, configuration: dict[str, Any]) -> None:
        self._holder.start(configuration)
        seconds = self.spec.bounds.seconds + _GONE + _RETURN
        greet(self._holder.link, seconds=seconds, processes=None, timeout=layout.READY_SECONDS)
        with tempfile.TemporaryFile() as file:
            try:
                parcels.pack(self.spec.workspace, layout.owner(), layout.group(), file)
            except OSError as error:
                raise SandboxError(f"{self.spec.workspace} cannot be packed: {error.strerror}") from error
            asking(lambda: self._client.put_archive(self._holder.name, WORKSPACE, file))

    def check_owner(self, session: Session) -> None:
        """As `Container`: what the sandbox writes is the workload's, as the engine sees it."""
        folder = f".agent-pipeline-{secrets.token_hex(8)}"
        session.write(f"{folder}/probe", b"")
        with self._archive(f"{WORKSPACE}/{folder}") as chunks:
            owners = {item.uid for item in parcels.Parcel(chunks, folder.encode(), 0, 2).items()}
        session.run(["rm", "-r", folder], seconds=10)
        if owners != {layout.owner()}:
            raise SandboxError(f"files made in the sandbox belong to uid {owners}, not {layout.owner()}")
        self._proven = True

    def end(self) -> str | None:
        """As `Container`, with the workspace as the sandbox left it once it had proven its walls."""
        try:
            return super().end()
        finally:
            self._holder.end()

    def fetch(self) -> None:
        """As `Container`, by way of the holder."""
        asking(self._bring_back)

    def _bring_back(self) -> None:
        with self._archive(WORKSPACE) as chunks:
            parcel = parcels.Parcel(chunks, WORKSPACE.strip("/").encode(), self.spec.bounds.disk_mb << 20, self._room())
            returning.bring_back(parcel, self.spec.workspace, _RETURN)

    @contextlib.contextmanager
    def _archive(self, path: str) -> Iterator[Iterator[bytes]]:
        """Have the engine read `path`. It holds the container until we have read all, or hung up."""
        chunks, _ = asking(lambda: self._client.get_archive(self._holder.name, path))
        with contextlib.closing(chunks):
            yield chunks


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
    """Return a client of the engine that the environment names. Raises `SandboxError`.

    Only over a socket of this host, or a port of its loopback: what stands behind it, a tunnel say, is whoever set it
    up's to trust. Unprotected on a network anybody could answer in the engine's place.
    """
    from docker import DockerClient  # noqa: PLC0415 - 200 ms that the command line does not need
    from docker.utils import kwargs_from_env  # noqa: PLC0415 - the same

    address = kwargs_from_env().get("base_url")
    if address is not None and not (address.startswith("unix://") or _LOOPBACK.match(address)):
        raise SandboxError(
            "the Docker engine that DOCKER_HOST names is not on this host",
            hint="forward its socket here (`ssh -N -L /run/user/1000/far.sock:/var/run/docker.sock HOST`) and set "
            "DOCKER_HOST to unix:///run/user/1000/far.sock, or unset it",
        )
    _knock(address or _DEFAULT)
    return asking(lambda: DockerClient(base_url=address, version="auto", timeout=seconds))


def _knock(address: str) -> None:
    """Raise `SandboxError` when nobody listens at `address`: the SDK would leave a socket of its own open."""
    if not address.startswith("unix://"):
        place = urlsplit(address)
        try:
            socket.create_connection((place.hostname or "", place.port or 0), ENDING).close()
        except OSError as error:
            raise SandboxError(
                f"no Docker engine answers at {address}, which DOCKER_HOST names: {error.strerror or error}",
                hint="start it, or the tunnel that leads to it, or unset DOCKER_HOST",
            ) from error
        return
    with socket.socket(socket.AF_UNIX) as knocking:
        knocking.settimeout(ENDING)
        asking(lambda: knocking.connect(address.removeprefix("unix://")))


def asking(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the engine answers
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
