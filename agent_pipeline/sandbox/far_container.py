"""A container of an engine that does not see this host's files: the workspace goes there, and comes back."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, Final

from agent_pipeline import clock
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import container_mounts, frames, layout, parcels, returning
from agent_pipeline.sandbox.container import GONE, Configured, Container, asking
from agent_pipeline.sandbox.contract import WORKSPACE, Spec
from agent_pipeline.sandbox.links import Link
from agent_pipeline.sandbox.mounts import Mount
from agent_pipeline.sandbox.session import Session, greet

_RETURN: Final = 300.0
_LEAST: Final = 16_384
_BYTES_PER_FILE: Final = 4096  # as the bounded space of a copy on this host has it


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
    def carried(self) -> str:
        """As `Container`."""
        return "archive"

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
        seconds = self.spec.bounds.seconds + GONE + _RETURN
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
