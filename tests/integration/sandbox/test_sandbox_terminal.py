"""A person's shell in a sandbox: a terminal of the sandbox's own, with the same walls, and nothing of the host's."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator

import pytest

from agent_pipeline import clock
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox.contract import Sandbox

pytestmark = pytest.mark.containers


class Typist:
    """Implements `Screen`: types each line once the screen shows what it waits for."""

    def __init__(self, *script: tuple[str, bytes]) -> None:
        self.shown, self.rows, self._script = b"", 24, list(script)
        self._reader, self._writer = os.pipe()
        self._type()

    def descriptor(self) -> int:
        return self._reader

    def size(self) -> tuple[int, int]:
        return self.rows, 80

    def typed(self) -> bytes:
        return os.read(self._reader, 1 << 16)

    def show(self, data: bytes) -> None:
        self.shown += data
        self._type()

    def hang_up(self) -> None:
        os.close(self._writer)
        self._writer = -1

    def close(self) -> None:
        for descriptor in (self._reader, self._writer):
            if descriptor >= 0:
                os.close(descriptor)

    def _type(self) -> None:
        while self._script and re.search(self._script[0][0].encode(), self.shown):
            keys = self._script.pop(0)[1]
            threading.Thread(target=os.write, args=(self._writer, keys), daemon=True).start()


@pytest.fixture
def typists() -> Iterator[list[Typist]]:
    made: list[Typist] = []
    yield made
    for one in made:
        one.close()


def at(sandbox: Sandbox, typists: list[Typist], *script: tuple[str, bytes]) -> tuple[int, bytes]:
    typist = Typist(*script)
    typists.append(typist)
    code = sandbox.terminal(["bash", "--norc", "-i"], typist, env={"PS1": "ready> ", "TERM": "dumb"})
    return code, typist.shown


def test_a_shell_is_on_a_terminal_of_its_own(sandbox: Sandbox, typists: list[Typist]) -> None:
    code, shown = at(
        sandbox,
        typists,
        (
            "ready> ",
            b"tty; stty size; id -u; grep -E '^(NoNewPrivs|Seccomp|CapBnd):' /proc/self/status | tr '\\n' ' '\n",
        ),
        ("Seccomp:\t2", b"ls /proc/self/fd | tr '\\n' ,; echo x >/workspace/kept; exit 7\n"),
    )
    assert code == 7
    assert b"/dev/pts/" in shown
    assert b"24 80" in shown
    assert b"10001" in shown
    assert b"NoNewPrivs:\t1" in shown
    assert b"CapBnd:\t0000000000000000" in shown
    assert b"0,1,2,3," in shown
    assert sandbox.read("kept") == b"x\n"
    assert sandbox.run(["echo", "next"], seconds=10).output == b"next\n"


def test_keys_reach_the_program_and_not_the_host(sandbox: Sandbox, typists: list[Typist]) -> None:
    started = clock.monotonic()
    code, shown = at(
        sandbox,
        typists,
        ("ready> ", b"sh -c 'echo begun; exec sleep 50'\n"),
        ("begun\r\n", b"\x03"),
        (r"\^C[^>]*ready> ", b"echo on; exit\n"),
    )
    assert clock.monotonic() - started < 20
    assert b"on\r\n" in shown
    assert code == 0


def test_what_a_shell_leaves_running_is_swept(sandbox: Sandbox, typists: list[Typist]) -> None:
    at(sandbox, typists, ("ready> ", b"setsid sleep 61 & sleep 62 & disown -a; exit\n"))
    found = sandbox.run(["sh", "-c", "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done"], seconds=10)
    assert b"sleep 6" not in found.output


def test_a_flood_both_ways_does_not_block(sandbox: Sandbox, typists: list[Typist]) -> None:
    line = b"x" * 200 + b"\n"
    code, shown = at(
        sandbox,
        typists,
        ("ready> ", b"stty -echo; head -c 3000000 /dev/zero | tr '\\0' y; cat | wc -c; exit 3\n"),
        ("y{2000000}", line * 2000 + b"\x04"),
    )
    assert code == 3
    assert shown.count(b"y") >= 3_000_000
    assert b"402000" in shown


class SlowTypist(Typist):
    """Takes its time to show what arrives, so that more of it is always there already."""

    def show(self, data: bytes) -> None:
        super().show(data)
        clock.sleep(0.01)


def test_keys_get_through_while_a_program_floods_a_slow_screen(sandbox: Sandbox, typists: list[Typist]) -> None:
    typist = SlowTypist(
        ("ready> ", b"timeout --foreground 30 yes\n"),
        ("(y\r\n){20000}", b"\x03"),
        (r"\^C[^>]*ready> ", b"exit 3\n"),
    )
    typists.append(typist)
    started = clock.monotonic()
    assert sandbox.terminal(["bash", "--norc", "-i"], typist, env={"PS1": "ready> ", "TERM": "dumb"}) == 3
    assert clock.monotonic() - started < 15


def test_hanging_up_is_seen_while_a_program_floods_a_slow_screen(sandbox: Sandbox, typists: list[Typist]) -> None:
    typist = SlowTypist(("ready> ", b"timeout --foreground 30 yes\n"))
    typists.append(typist)
    threading.Timer(2, typist.hang_up).start()
    started = clock.monotonic()
    assert sandbox.terminal(["bash", "--norc", "-i"], typist, env={"PS1": "ready> "}) == 129
    assert clock.monotonic() - started < 15


def test_a_person_who_hangs_up_ends_the_shell(sandbox: Sandbox, typists: list[Typist]) -> None:
    typist = Typist(("ready> ", b"sleep 50\n"))
    typists.append(typist)
    threading.Timer(1, typist.hang_up).start()
    assert sandbox.terminal(["bash", "--norc", "-i"], typist, env={"PS1": "ready> "}) == 129
    with pytest.raises(SandboxError):
        sandbox.run(["true"], seconds=5)


def test_a_new_size_of_the_screen_is_told(sandbox: Sandbox, typists: list[Typist]) -> None:
    typist = Typist(("ready> ", b"while [ \"$(stty size)\" != '50 80' ]; do sleep 0.05; done; exit 4\n"))
    typists.append(typist)
    threading.Timer(0.5, lambda: setattr(typist, "rows", 50)).start()
    assert sandbox.terminal(["bash", "--norc", "-i"], typist, env={"PS1": "ready> "}) == 4


def test_a_shell_that_is_not_there_is_said(sandbox: Sandbox, typists: list[Typist]) -> None:
    typist = Typist()
    typists.append(typist)
    with pytest.raises(FileNotFoundError):
        sandbox.terminal(["no-such-shell"], typist)
    assert sandbox.run(["echo", "next"], seconds=10).output == b"next\n"
