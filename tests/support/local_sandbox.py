"""A sandbox without walls, for tests of what acts through one: the contract on a temporary directory.

Commands really run, as processes of the test's own. Nothing hostile belongs in here.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Self

from agent_pipeline import clock, process
from agent_pipeline.documents.provenance import SandboxFacts
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox.contract import FILE_LIMIT, OUTPUT_LIMIT, WORKSPACE, CommandResult

FACTS = SandboxFacts(
    "bubblewrap", "none", "none", "0" * 64, "0" * 64, "0" * 64, ("memory", "pids", "cpu", "disk"), "copy"
)


class LocalSandbox:
    """Implements `Sandbox` on `root`; `files` are written there first."""

    def __init__(self, files: Mapping[str, str | bytes] | None = None) -> None:
        self.facts = FACTS
        self._folder = tempfile.TemporaryDirectory(prefix="local-sandbox-")
        self.root = Path(self._folder.name)
        self.base: dict[str, bytes] = {}
        for name, content in (files or {}).items():
            data = content.encode() if isinstance(content, str) else content
            self.write(name, data)
        self.base = self._all()

    def run(
        self,
        argv: Sequence[str],
        *,
        seconds: float,
        env: Mapping[str, str] | None = None,
        output_limit: int = OUTPUT_LIMIT,
    ) -> CommandResult:
        self._alive()
        if any("\0" in word for word in argv):
            raise ValueError("a NUL character cannot be handed to a command")
        started = clock.monotonic()
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        command = ["sh", "-c", 'exec 2>&1; exec "$@"', "sh", *argv]
        done = process.run(
            command, env=environment | dict(env or {}), cwd=self.root, timeout=seconds, limit=output_limit
        )
        code = None if done.timed_out else done.code
        return CommandResult(code, done.stdout, done.truncated, done.timed_out, clock.monotonic() - started)

    def sync(self) -> None:
        self._alive()

    def read(self, path: str, limit: int = FILE_LIMIT) -> bytes:
        target = self._place(path)
        if target.is_dir():
            raise IsADirectoryError(path)
        if target.exists() and (not target.is_file() or target.stat().st_size > limit):
            raise ValueError(f"{path} is no regular file or larger than {limit} bytes")
        return target.read_bytes()

    def write(self, path: str, content: bytes) -> None:
        target = self._place(path)
        if target.is_dir():
            raise IsADirectoryError(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def listing(self, path: str) -> tuple[str, ...]:
        target = self._place(path)
        if not target.exists():
            raise FileNotFoundError(path)
        if not target.is_dir():
            raise NotADirectoryError(path)
        return tuple(sorted(item.name + ("/" if item.is_dir() else "") for item in target.iterdir()))

    def close(self) -> None:
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def changed(self) -> tuple[str, ...]:
        """The paths that differ from the beginning, as the host would find them."""
        now = self._all()
        return tuple(sorted(name for name in now | self.base if now.get(name) != self.base.get(name)))

    def _all(self) -> dict[str, bytes]:
        return {str(p.relative_to(self.root)): p.read_bytes() for p in self.root.rglob("*") if p.is_file()}

    def _place(self, path: str) -> Path:
        self._alive()
        pure = PurePosixPath(path)
        return self.root / (pure.relative_to(WORKSPACE) if pure.is_absolute() else pure)

    def _alive(self) -> None:
        if not self.root.exists():
            raise SandboxError("the sandbox is gone")
