"""The person's terminal, held for a signing child that may have to ask there."""

from __future__ import annotations

import contextlib
import os
import sys
import termios
from collections.abc import Iterator


@contextlib.contextmanager
def held() -> Iterator[int | None]:
    """Yield a descriptor of the terminal where somebody can be asked, or None; it is left as it was found.

    Nobody is asked where nobody would see it: when stderr is not on a terminal, or we run in the background.
    """
    handle = _opened()
    if handle is None:
        yield None
        return
    before = termios.tcgetattr(handle)
    try:
        yield handle
    finally:
        if termios.tcgetattr(handle) != before:  # the child was killed while somebody typed
            termios.tcsetattr(handle, termios.TCSAFLUSH, before)
        os.close(handle)


def _opened() -> int | None:
    try:
        if not os.isatty(sys.__stderr__.fileno() if sys.__stderr__ else -1):
            return None
        handle = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError):
        return None
    if os.tcgetpgrp(handle) != os.getpgrp():
        os.close(handle)
        return None
    return handle
