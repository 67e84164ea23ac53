"""Interrupts at every step: none is lost, none cuts in two what must stay whole, and later ones are heard as before.

Each program runs in a process of its own. `at` gives a signal before the chosen instruction of ours: what chance would
hit once in a thousand times is hit each time.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agent_pipeline import process

COMMON = """
import contextlib, gc, os, signal, sys, time, weakref
sys.path.insert(0, {root!r})
from agent_pipeline import interrupts

def at(step, number, what, files):
    # Call `what`; before the instruction `step` of those files the signal comes. Return whether it was given.
    left = [step]

    def trace(frame, event, argument):
        if not frame.f_code.co_filename.endswith(files):
            return trace
        frame.f_trace_opcodes = True
        if event == "opcode":
            left[0] -= 1
            if left[0] == 0:
                signal.raise_signal(number)
        return trace

    sys.settrace(trace)
    try:
        what()
    finally:
        sys.settrace(None)
    return left[0] <= 0

def caught(what):
    # Return how many interrupts came of `what`; when none did, a late one is waited for.
    try:
        what()
        time.sleep(0.05)
    except KeyboardInterrupt:
        return 1
    return 0
"""


def told(script: str) -> str:
    done = process.run(
        [sys.executable, "-c", COMMON.format(root=str(Path.cwd())) + script], env={"PATH": "/usr/bin:/bin"}, timeout=50
    )
    assert done.ok, done.explain()
    return done.stdout.decode()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_each_signal_that_ends_us_interrupts(name: str) -> None:
    assert told(f"""
with interrupts.heard():
    print(caught(lambda: signal.raise_signal(signal.{name})))
""") == "1\n"  # fmt: skip


def test_what_whoever_started_us_ignores_stays_ignored() -> None:
    assert told("""
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with interrupts.heard():
    print(caught(lambda: signal.raise_signal(signal.SIGHUP)))
    with interrupts.held_back():
        signal.raise_signal(signal.SIGHUP)
print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)
""") == "0\nTrue\n"  # fmt: skip


def test_afterwards_everything_is_as_it_was() -> None:
    assert told("""
numbers = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM
before = [sys.unraisablehook, *map(signal.getsignal, numbers)]
with interrupts.heard():
    assert before != [sys.unraisablehook, *map(signal.getsignal, numbers)]
with contextlib.suppress(KeyboardInterrupt), interrupts.heard():
    signal.raise_signal(signal.SIGTERM)
print(before == [sys.unraisablehook, *map(signal.getsignal, numbers)], signal.getitimer(signal.ITIMER_REAL))
""") == "True (0.0, 0.0)\n"  # fmt: skip


DESTRUCTORS = {
    "an object's": """
class Thing:
    def __del__(self): signal.raise_signal(signal.SIGINT)
def fall(): Thing()
""",
    "a weak reference's": """
class Thing: pass
def fall():
    thing = Thing()
    kept = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
    del thing
""",
    "a generator's": """
def steps():
    try: yield
    finally: signal.raise_signal(signal.SIGINT)
def fall():
    begun = steps()
    next(begun)
    del begun
""",
    "the collector's": """
class Thing:
    def __del__(self): signal.raise_signal(signal.SIGINT)
def fall():
    thing = Thing()
    thing.own = thing
    del thing
    gc.collect()
""",
}


@pytest.mark.parametrize("whose", DESTRUCTORS)
def test_an_interrupt_that_falls_into_a_destructor_comes_again(whose: str) -> None:
    script = DESTRUCTORS[whose]
    assert told(f"{script}\nwith interrupts.heard(): print(caught(fall))") == "1\n"
    assert told(f"""{script}
def hold():
    with interrupts.held_back():
        fall()
        time.sleep(0.05)
        print("whole")
with interrupts.heard(): print(caught(hold))
""") == "whole\n1\n"  # fmt: skip


def test_two_that_fall_into_one_destructor_are_one_that_comes_again() -> None:
    """The second one comes, at each step, while the first is kept for later."""
    assert told("""
def fall():
    class Thing:
        def __del__(self): signal.raise_signal(signal.SIGHUP)
    Thing()
with interrupts.heard():
    step, given = 0, True
    while given:
        step, given = step + 1, False
        def once():
            global given
            given = at(step, signal.SIGTERM, fall, ("interrupts.py",))
        assert caught(once) == 1, step
        if caught(lambda: None):  # the second one came after the first was given again
            given = True
print(step > 30)
""") == "True\n"  # fmt: skip


def test_one_that_comes_while_another_error_is_told_comes_again() -> None:
    assert told("""
class Thing:
    def __del__(self): raise ValueError
sys.unraisablehook = lambda told: signal.raise_signal(signal.SIGINT)
with interrupts.heard(): print(caught(Thing))
""") == "1\n"  # fmt: skip


def test_our_own_clock_ends_nobody() -> None:
    """One that falls into a destructor as the block ends, at each step."""
    assert told("""
class Thing:
    def __del__(self): signal.raise_signal(signal.SIGINT)
def hear():
    with interrupts.heard(): pass
for step in range(1, 200):
    child = os.fork()
    if not child:
        left = [step]
        def trace(frame, event, argument):
            if frame.f_code.co_filename.endswith("interrupts.py"):
                frame.f_trace_opcodes = True
                left[0] -= event == "opcode"
                if left[0] == 0: Thing()
            return trace
        sys.unraisablehook = lambda told: None
        sys.settrace(trace)
        with contextlib.suppress(KeyboardInterrupt): hear()
        sys.settrace(None)
        time.sleep(0.03)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == 0, (step, code)
print("lived")
""") == "lived\n"  # fmt: skip


def test_where_the_alarm_is_ignored_one_in_a_destructor_comes_again() -> None:
    script = DESTRUCTORS["an object's"]
    assert told(f"""{script}
signal.signal(signal.SIGALRM, signal.SIG_IGN)
with interrupts.heard(): print(caught(fall))
print(signal.getsignal(signal.SIGALRM) == signal.SIG_IGN)
""") == "1\nTrue\n"  # fmt: skip


def test_other_errors_in_destructors_are_told_as_ever() -> None:
    assert told("""
class Thing:
    def __del__(self): raise ValueError("of its own")
sys.unraisablehook = lambda told: print(told.exc_value)
with interrupts.heard(): print(caught(Thing))
""") == "of its own\n0\n"  # fmt: skip


@pytest.mark.parametrize("first", ["SIGINT", "SIGTERM"])
def test_at_every_step_of_holding_back_it_is_one_interrupt_after_a_whole_block(first: str) -> None:
    """And those that come later are heard as before."""
    told(f"""
def hold():
    with interrupts.held_back():
        entered.append(1)
        left.append(1)

steps, whole = 0, 0
with interrupts.heard():
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    given = True
    while given:
        steps += 1
        entered, left, given = [], [], False
        def once():
            global given
            given = at(steps, signal.{first}, hold, ("interrupts.py",))
        count = caught(once)
        given = given or count > 0
        assert count == (1 if given else 0), (steps, count)
        assert entered == left, steps
        whole += bool(entered) and count
        for later in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            assert caught(lambda: signal.raise_signal(later)) == 1, (steps, later)
assert steps > 100 and whole > 50, (steps, whole)
""")  # fmt: skip


def test_one_that_comes_while_the_old_handlers_are_put_back_is_heard_without_ours() -> None:
    """What stays of ours then hands on: to nothing that was there before, too."""
    assert told("""
def hold():
    with interrupts.held_back():
        pass
for number in (signal.SIGTERM, signal.SIGHUP):
    for step in range(1, 400):
        child = os.fork()
        if not child:
            signal.signal(number, signal.SIG_DFL)
            at(step, number, hold, ("interrupts.py",))
            signal.raise_signal(number)
            os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code == -number, (step, code)
print("ended")
""") == "ended\n"  # fmt: skip
