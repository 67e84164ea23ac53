"""A launched bubblewrap sandbox: the chain of `guard`, its pipes, and an end that is certain."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
from collections.abc import Mapping
from typing import Final

from agent_pipeline import clock, process
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import cgroups, guard, held, layout, seccomp
from agent_pipeline.sandbox.contract import Spec
from agent_pipeline.sandbox.links import PipeLink

_INFO: Final = re.compile(rb'"child-pid"\s*:\s*([0-9]+)[^}]*}')  # to its end: bubblewrap dies of a pipe that closes
_PATIENCE: Final = 5.0


class Cell:
    """A launched sandbox. A descriptor of PID 1 is held: when it is gone, so is everything in its namespace."""

    def __init__(self, command: list[str], spec: Spec, group: cgroups.Group | None) -> None:
        """Launch `command`. Raises `SandboxError` when it ends before there is a PID 1."""
        self._group, self._ended, self._pid1, self._number = group, False, -1, 0
        with contextlib.ExitStack() as stack:
            info_reader, self._guard = _launch(command, spec, group)
            stack.callback(os.close, info_reader)
            stack.push(self._given_up)
            self.link = _link(self._guard)
            stack.push(lambda error, *_: self.link.close() if error is not None else None)
            try:
                self._pid1 = self._enclosed(_first_process(info_reader))
            except SandboxError as error:
                said = self.link.complaints()
                raise SandboxError(f"{error.message}{f': {said[-500:]}' if said else ''}", hint=error.hint) from error

    def _given_up(self, error: type[BaseException] | None, *_: object) -> None:
        """End what was launched when that did not come to a PID 1 whose end we can bring about."""
        if error is not None:
            self._guard.terminate()  # its trap ends whatever there is
            _finish(self._guard)

    def _enclosed(self, number: int) -> int:
        """Return a descriptor of PID 1, which is in the control group then, and has not been asked anything yet.

        From here, and not by the guard before it starts bubblewrap: the kernel takes its time over it, in which PID 1
        can start. A process that is there after the last step was there in each: its number was nobody else's.
        """
        try:
            descriptor = os.pidfd_open(number)
        except ProcessLookupError as error:
            raise SandboxError("bubblewrap ended at once") from error
        try:
            if self._group is not None:
                self._group.admit(number)
        except SandboxError:
            os.close(descriptor)
            raise
        if _gone(descriptor, 0):
            os.close(descriptor)
            raise SandboxError("bubblewrap ended at once")
        self._number = number
        return descriptor

    def held(self) -> Mapping[str, str]:
        """Return by what control groups hold PID 1, as the kernel has it."""
        if self._group is None:
            return held.nobody()
        return held.by_kernel(self._number, self._group.name, self._group.held)

    def end(self) -> str | None:
        """Kill PID 1, and with it everything; wait; remove the control group. Idempotent, bounded in time."""
        if self._ended:
            return None
        self._ended = True
        said = self.link.complaints()
        self.link.close()
        if self._pid1 >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pid1, signal.SIGKILL)
            _gone(self._pid1, _PATIENCE)
            os.close(self._pid1)
        killed_for_memory = self._out_of_memory()
        _finish(self._guard)
        self.link.close()  # whoever still waited on it has woken up by now
        if self._group is not None:
            self._group.remove()
        return "it ran out of memory" if killed_for_memory else said[-500:] or None

    def _out_of_memory(self) -> bool:
        for folder in () if self._group is None else self._group.folders:
            for name in ("memory.events", "memory.oom_control"):
                with contextlib.suppress(OSError, ValueError):
                    found = dict(line.split() for line in (folder / name).read_text().splitlines())
                    if int(found.get("oom_kill", "0")) > 0:
                        return True
        return False


def _launch(command: list[str], spec: Spec, group: cgroups.Group | None) -> tuple[int, process.Process]:
    """Launch `command`; return the end of the pipe on which bubblewrap reports, and the guard."""
    with contextlib.ExitStack() as stack:
        filter_file = _high(seccomp.memory_file())
        stack.callback(os.close, filter_file)
        info_reader, info_writer = os.pipe()
        failed = contextlib.ExitStack()
        failed.callback(os.close, info_reader)
        stack.push(failed)
        info_writer = _high(info_writer)
        stack.callback(os.close, info_writer)
        launched = process.spawn(
            guard.chain(
                [command[0], "--seccomp", str(filter_file), "--info-fd", str(info_writer), *command[1:]],
                groups=() if group is None else group.folders,
                limits=_limits(spec, bounded=group is not None and "memory" in group.held),
                drop=layout.is_root(),
                namespace=spec.namespace,
            ),
            env=guard.environment(),
            pass_fds=(filter_file, info_writer),
            stderr=True,
        )
        failed.pop_all()
        return info_reader, launched


def _high(descriptor: int) -> int:
    """Move a descriptor out of the way of the guard's own, which has 0 to 9 for itself."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved


def _link(launched: process.Process) -> PipeLink:
    """Take the pipes of a launched process over."""
    assert launched.stdin is not None and launched.stdout is not None and launched.stderr is not None  # noqa: S101, PT018
    descriptors = [os.dup(pipe.fileno()) for pipe in (launched.stdout, launched.stdin, launched.stderr)]
    for pipe in (launched.stdout, launched.stdin, launched.stderr):
        pipe.close()
    return PipeLink(*descriptors)


def _first_process(info: int) -> int:
    """Return the number of PID 1, which bubblewrap names on `info`. Raises `SandboxError` when it names none."""
    said, until = bytearray(), clock.monotonic() + layout.READY_SECONDS
    poller = select.poll()
    poller.register(info, select.POLLIN)
    while not (match := _INFO.search(said)):
        if not poller.poll(max(until - clock.monotonic(), 0) * 1000):
            raise SandboxError("bubblewrap did not start in time")
        chunk = os.read(info, 4096)
        if not chunk:
            raise SandboxError("bubblewrap did not start")
        said += chunk
    return int(match[1])


def _gone(descriptor: int, seconds: float) -> bool:
    """Wait for a process to end, at most so long; return whether it has."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(seconds * 1000))


def _finish(launched: process.Process) -> None:
    """Give the guard a moment to tidy up, then end it."""
    until = clock.monotonic() + _PATIENCE
    while launched.poll() is None and clock.monotonic() < until:
        clock.sleep(0.001)
    process.kill_group(launched)


def _limits(spec: Spec, *, bounded: bool) -> list[str]:
    size = layout.file_limit(spec)
    limits = [
        *("--core=0:0", f"--fsize={size}:{size}", "--memlock=0:0", "--msgqueue=0:0", "--nice=0:0", "--rtprio=0:0"),
        f"--nofile={layout.OPEN_FILES}:{layout.OPEN_FILES}",
    ]
    # Without a control group this holds each process by itself, not all of them together; `unenforced` says so.
    return limits if bounded else [*limits, f"--as={spec.bounds.memory_mb * layout.MIB}"]
