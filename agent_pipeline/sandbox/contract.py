"""What every sandbox engine offers, and what its callers may rely on.

Untrusted code runs behind this contract and nowhere else. What comes back is data of the types below: an exit code,
bytes, names. Nothing that a sandbox says decides anything on the host, and no string of an agent reaches an engine as
image, mount, working directory or entry point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, Self

from agent_pipeline.documents.provenance import SandboxFacts

WORKSPACE = "/workspace"
HOME = "/home/agent"
UID = 10001
OUTPUT_LIMIT = 1 << 20
FILE_LIMIT = 16 << 20


@dataclass(frozen=True, slots=True)
class Image:
    """A built image: `identity` is the SHA-256 of its configuration, which names its layers by their SHA-256.

    `folder` holds `config.json` (OCI image configuration, the identity's preimage) and `layers/<sha256>.tar`; the
    Docker engine loads it, bubblewrap unpacks it.
    """

    name: str
    identity: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one sandbox may use: MiB of memory, processes, processors, MiB of disk for the workspace, seconds of life.

    `require` names those of memory, pids, cpu, swap, sockets, disk that the host must be able to enforce, or nothing
    starts.
    """

    memory_mb: int
    pids: int
    cpus: str
    disk_mb: int
    seconds: int
    require: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spec:
    """What to start: `workspace` is a host directory that becomes `/workspace`; `run` names the run in labels.

    `namespace` is a process whose user and mount namespaces have the workspace, for engines that can enter them;
    `workspace` then begins with that process's `/proc/<process>/root`. `copied` is how it was made.
    """

    image: Image
    workspace: Path
    bounds: Bounds
    run: str
    env: Mapping[str, str] = field(default_factory=dict)
    runtime: str | None = None
    namespace: int | None = None
    copied: Literal["overlay", "copy"] = "copy"


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command in the sandbox ended. `code` is None when it was killed for time or output.

    `output` is stdout and stderr together, cut in the middle when `truncated`.
    """

    code: int | None
    output: bytes
    truncated: bool
    timed_out: bool
    seconds: float


class Screen(Protocol):
    """A person's terminal. What a sandbox says goes there as it is, as any program's output does."""

    def descriptor(self) -> int:
        """Return what to wait on until the person types."""

    def size(self) -> tuple[int, int]:
        """Return rows and columns."""

    def typed(self) -> bytes:
        """Return what the person typed; empty at its end."""

    def show(self, data: bytes) -> None:
        """Write to it."""


class Sandbox(Protocol):
    """A running sandbox that has proven its own walls. Closing it kills everything in it and leaves nothing behind."""

    facts: SandboxFacts

    def run(
        self,
        argv: Sequence[str],
        *,
        seconds: float,
        env: Mapping[str, str] | None = None,
        output_limit: int = OUTPUT_LIMIT,
    ) -> CommandResult:
        """Run `argv` in the workspace. Raises `SandboxError` when the sandbox itself is gone."""

    def read(self, path: str, limit: int = FILE_LIMIT) -> bytes:
        """Return a regular file's content, `path` relative to the workspace or absolute in the sandbox.

        Raises `FileNotFoundError`, `IsADirectoryError`, or `ValueError` for what is no regular file or larger than
        `limit`.
        """

    def write(self, path: str, content: bytes) -> None:
        """Create or replace a file of the workspace, with its directories. Raises as `read`; mode bits are kept."""

    def listing(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory, sorted, folders with a trailing `/`. Raises as `read`."""

    def sync(self) -> None:
        """Bring the host's directory up to what the workspace has now, for an engine that does not share it.

        Closing does so too. Raises `SandboxError`.
        """

    def terminal(self, argv: Sequence[str], screen: Screen, *, env: Mapping[str, str] | None = None) -> int:
        """Run `argv` in the workspace on a terminal made in the sandbox, shown on `screen`; return its exit code.

        For people: nothing bounds its output, and only the sandbox's own deadline its time. Raises as `run`.
        """

    def close(self) -> None:
        """Kill and remove everything; afterwards nothing of the run is alive. Idempotent."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(self, *exc: object) -> None:
        """Close."""


class Engine(Protocol):
    """A sandbox engine on this host: `name` is docker or bubblewrap.

    `reach` is how it gets at the workspace: a directory of this host, or also one in a namespace of ours.
    """

    name: str
    reach: Literal["host", "namespace"]

    def available(self) -> str | None:
        """Return None when it can be used, else why not, in one line for people."""

    def unenforced(self) -> tuple[str, ...]:
        """Return those of memory, pids, cpu, swap, sockets, disk that this host cannot enforce with this engine."""

    def explain(self) -> tuple[str, ...]:
        """Return what holds memory, pids and cpu here, and what does not and why, in lines for people."""

    def start(self, spec: Spec) -> Sandbox:
        """Start a sandbox and let it prove its walls. Raises `SandboxError`; nothing is left behind then."""
