"""Ctrl-C, SIGTERM and a terminal that goes: how they end a command, and where they have to wait.

Each raises `KeyboardInterrupt` where the program happens to stand, so that everything is cleaned up on the way out. Two
places are no good for that: in what must not be cut in two it is held back, and in a destructor, where Python can do no
more than forget it (`object.__del__` in its data model), it is given again a moment later.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN: Final = signal.SIGALRM  # our own, after a moment
_MOMENT: Final = 0.01  # seconds; a destructor takes less


@contextmanager
def heard() -> Iterator[None]:
    """Let signals that end us raise `KeyboardInterrupt` in the block, except those that whoever started us ignores.

    None is lost: what came where Python cannot raise comes again, unless the block has ended by then. For the main
    thread.
    """
    before = _handlers(*_ENDING) | {_AGAIN: signal.getsignal(_AGAIN)}
    hook = _Hook()
    try:
        sys.unraisablehook = hook
        for number in before:
            signal.signal(number, _interrupt)
        yield
    finally:
        sys.unraisablehook = hook.before  # first: it would start the clock again
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


class _Hook:
    """Stands in for `sys.unraisablehook`, which is told what a destructor raised."""

    def __init__(self) -> None:
        self.before = sys.unraisablehook

    def __call__(self, ignored: UnraisableHookArgs) -> None:
        if isinstance(ignored.exc_value, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, _MOMENT)
        else:
            self.before(ignored)


def _interrupt(_number: int, frame: FrameType | None) -> None:
    """Interrupt, or, in the hook itself, where Python forgets it too, a moment later."""
    while frame is not None:
        if frame.f_code is _Hook.__call__.__code__:
            signal.setitimer(signal.ITIMER_REAL, _MOMENT)
            return
        frame = frame.f_back
    raise KeyboardInterrupt


@contextmanager
def held_back() -> Iterator[None]:
    """Run the block to its end; an interrupt that arrives meanwhile takes effect right after it.

    For what must not be cut in two, and is short. In another thread than the main one nothing is done: signals do not
    interrupt there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting = _Waiting()
    try:
        waiting.begin()
        yield
    finally:
        waiting.end()


class _Waiting:
    """What arrives between `begin` and `end`. A handler that could not be put back hands on what it gets later."""

    def __init__(self) -> None:
        self._before, self._over = _handlers(*_ENDING, _AGAIN), False
        self._arrived: list[int] = []

    def begin(self) -> None:
        for number in self._before:
            signal.signal(number, self._handle)

    def end(self) -> None:
        self._over = True
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._arrived:
            signal.raise_signal(self._arrived[0])

    def _handle(self, number: int, frame: FrameType | None) -> None:
        handler = self._before[signal.Signals(number)]
        if not self._over:
            self._arrived.append(number)
        elif callable(handler):
            handler(number, frame)
        else:
            signal.signal(number, handler)
            signal.raise_signal(number)


def _handlers(*numbers: signal.Signals) -> dict[signal.Signals, Any]:
    """Return who handles the signals now, without those that nobody is to hear of or that are none of Python's."""
    unheard = (signal.SIG_IGN, None)
    return {number: handler for number in numbers if (handler := signal.getsignal(number)) not in unheard}
