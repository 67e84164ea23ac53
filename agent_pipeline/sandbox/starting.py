"""Starting things so that an interrupt, or the end of a thread, never leaves half of them behind."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from agent_pipeline import interrupts

_T = TypeVar("_T")


@cache
def _starter() -> ThreadPoolExecutor:
    """Return the threads that start sandboxes; they live as long as the program.

    The kernel's "die with the parent" means the thread that started the child: from a short-lived thread it would
    kill a healthy sandbox.
    """
    return ThreadPoolExecutor(max_workers=8, thread_name_prefix="sandbox-starter")


def to_its_end(call: Callable[[], _T], undo: Callable[[_T], object]) -> _T:
    """Run `call` where no interrupt reaches it; when one comes meanwhile, `undo` its result and pass it on."""
    future: Future[_T] | None = None
    try:
        with interrupts.held_back():  # a thread that is cut short as it starts would keep the program from ending
            future = _starter().submit(call)
        return future.result()
    except BaseException:
        if future is not None and not future.cancel() and future.exception() is None:  # which waits for its end
            undo(future.result())
        raise
