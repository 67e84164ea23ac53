"""A shorter way to PID 1: two named pipes in the workspace, past an engine whose streams go through three processes.

Both ends are opened before anything else runs in the sandbox, and the names are gone by then: what runs later finds
nothing there. The attached stdin stays the lifeline. A sandbox that cannot open them (another kernel's file system, an
engine elsewhere) goes on by the streams.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent_pipeline import clock
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import frames, layout
from agent_pipeline.sandbox.links import Link, PipeLink

_OWN: Final = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


def shorter(link: Link, workspace: Path) -> Link:
    """Return pipes through `workspace` to the PID 1 at the far end of `link`, or `link` where it has none of that.

    Nothing untrusted may run yet. Raises `SandboxError`.
    """
    try:
        with _pipe(workspace) as (there, to_it), _pipe(workspace) as (back, from_it):
            deadline = clock.monotonic() + layout.READY_SECONDS
            answer = frames.ask(link, frames.PIPES, [there, back], limit=frames.SMALL, deadline=deadline)
            if answer[0] == frames.FAULT:
                return link
            frames.expect(answer, frames.DONE)
            return _both(from_it, to_it)
    except OSError as error:
        raise SandboxError(f"no named pipe can be made in {workspace}: {error.strerror}") from error


@contextlib.contextmanager
def _pipe(workspace: Path) -> Iterator[tuple[bytes, int]]:
    """Make a named pipe for the sandbox's user; both its ends are open, so that neither side waits for the other.

    Its name is gone afterwards.
    """
    path = workspace / f".agent-pipeline-{secrets.token_hex(8)}"
    os.mkfifo(path, 0o600)
    try:
        descriptor = os.open(path, os.O_RDWR | _OWN)
        try:
            if layout.is_root():
                os.fchown(descriptor, layout.owner(), layout.group())
            yield os.fsencode(path.name), descriptor
        finally:
            os.close(descriptor)
    finally:
        path.unlink()


def _both(from_it: int, to_it: int) -> PipeLink:
    reader = _one_way(from_it, os.O_RDONLY)
    try:
        return PipeLink(reader, _one_way(to_it, os.O_WRONLY))
    except OSError:
        os.close(reader)
        raise


def _one_way(descriptor: int, way: int) -> int:
    """Open one end of the pipe `descriptor`, so that the far side's end shows as the end of the stream."""
    return os.open(f"/proc/self/fd/{descriptor}", way | os.O_NONBLOCK | os.O_CLOEXEC)
