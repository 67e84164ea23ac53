"""A passphrase that is typed: asked on the terminal, once, unseen; and a terminal that is left as it was found."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import sys
import termios
import time
from pathlib import Path

import pytest
from support.keyrings import set_environment

from agent_pipeline.errors import UsageError
from agent_pipeline.signing import generate
from agent_pipeline.signing.client import Signer

PASSPHRASE = "correct horse battery"
SIGNS = """
import sys
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.signing.client import Signer
try:
    for number in range(2):
        print("signed", Signer(sys.argv[1]).envelope("a/b", b"x").keyid[:8], flush=True)
except AgentPipelineError as error:
    print("error:", error.message, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
MAKES = """
import sys
from pathlib import Path
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.signing.generate import generate
try:
    print("made", generate(Path(sys.argv[1]), "x", protect=True).key.keyid[:8], flush=True)
except AgentPipelineError as error:
    print("error:", error.message, flush=True)
"""


class Seat:
    """Somebody at a terminal of their own, in front of a program."""

    def __init__(self, program: str, *argv: str) -> None:
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, "-c", program, *argv], env)  # noqa: S606 - the program under test
        self.shown = b""

    def until(self, word: str) -> None:
        """Read the screen until it shows `word`."""
        end = time.monotonic() + 60
        while word.encode() not in self.shown:
            left = end - time.monotonic()
            assert left > 0, self.shown
            assert select.select([self.terminal], [], [], left)[0], self.shown
            self.shown += os.read(self.terminal, 4096)

    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.terminal)[3] & termios.ECHO)

    def types(self, text: str) -> None:
        """Type, once nothing that is typed is shown."""
        end = time.monotonic() + 10
        while self.echoes() and time.monotonic() < end:
            time.sleep(0.01)
        os.write(self.terminal, text.encode())

    def leaves(self) -> str:
        """Return what the screen showed to the end."""
        with contextlib.suppress(OSError):
            while part := os.read(self.terminal, 4096):
                self.shown += part
        os.waitpid(self.pid, 0)
        os.close(self.terminal)
        return self.shown.decode()


@pytest.fixture
def encrypted(tmp_path: Path) -> Path:
    with set_environment(AGENT_PIPELINE_KEY_PASSPHRASE=PASSPHRASE):
        generate.generate(tmp_path / "key", "x")
    return tmp_path / "key"


def test_it_is_asked_once_and_shown_nowhere(encrypted: Path) -> None:
    seat = Seat(SIGNS, str(encrypted))
    seat.until(f"the passphrase of the encrypted key {encrypted}: ")
    seat.types(PASSPHRASE + "\n")
    shown = seat.leaves()
    assert shown.count("signed") == 2
    assert shown.count("the passphrase") == 1
    assert "horse" not in shown


def test_a_wrong_one_is_an_error_and_not_kept(encrypted: Path) -> None:
    seat = Seat(SIGNS, str(encrypted))
    seat.until("the passphrase")
    seat.types("wrong\n")
    shown = seat.leaves()
    assert f"error: {encrypted} does not open with this passphrase" in shown
    assert "signed" not in shown


@pytest.mark.parametrize("typed", ["\x04", "\x03"], ids=["end of input", "Ctrl-C"])
def test_who_gives_up_gets_the_terminal_back_as_it_was(encrypted: Path, typed: str) -> None:
    seat = Seat(SIGNS, str(encrypted))
    seat.until("the passphrase")
    seat.types(typed)
    seat.until("error: nothing was typed" if typed == "\x04" else "interrupted")
    assert seat.echoes()
    seat.leaves()


def test_a_new_passphrase_is_typed_twice(tmp_path: Path) -> None:
    for again, word in ((PASSPHRASE, "made"), ("other", "error: the two passphrases differ")):
        seat = Seat(MAKES, str(tmp_path / "new"))
        seat.until("a passphrase for the new key: ")
        seat.types(PASSPHRASE + "\n")
        seat.until("the same again: ")
        seat.types(again + "\n")
        seat.until(word)
        seat.leaves()
        if word == "made":
            with set_environment(AGENT_PIPELINE_KEY_PASSPHRASE=PASSPHRASE):
                assert Signer(str(tmp_path / "new")).sign(()) == []
            (tmp_path / "new").unlink()
            (tmp_path / "new.pub").unlink()
        else:
            assert not (tmp_path / "new").exists()


def test_a_program_asks_where_there_is_no_terminal(encrypted: Path, tmp_path: Path) -> None:
    program = tmp_path / "askpass"
    program.write_text(f"#!/bin/sh\necho '{PASSPHRASE}'\n", encoding="ascii")
    program.chmod(0o700)
    with set_environment(SSH_ASKPASS=str(program), AGENT_PIPELINE_KEY_PASSPHRASE=None):
        assert Signer(str(encrypted)).envelope("a/b", b"x")
    program.write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
    Path(f"{encrypted}2").symlink_to(encrypted)  # another name: the passphrase of the first is known by now
    with (
        set_environment(SSH_ASKPASS=str(program), AGENT_PIPELINE_KEY_PASSPHRASE=None),
        pytest.raises(Exception, match="cancelled or failed"),
    ):
        Signer(f"{encrypted}2").envelope("a/b", b"x")


def test_nobody_is_asked_in_the_background(encrypted: Path) -> None:
    """A job in the background must not take the line that is typed for the job in front."""
    program = f"import os, sys\nos.setpgid(0, 0)\n{SIGNS}"
    seat = Seat(f"import os\nif os.fork(): os.wait()\nelse:\n exec({program!r})", str(encrypted))
    seat.until("nobody is here to be asked")
    seat.leaves()


def test_without_anybody_the_error_says_what_to_do(encrypted: Path) -> None:
    with (
        set_environment(SSH_ASKPASS=None, AGENT_PIPELINE_KEY_PASSPHRASE=None),
        pytest.raises(UsageError, match="nobody is here to be asked") as refused,
    ):
        Signer(str(encrypted)).envelope("a/b", b"x")
    assert "AGENT_PIPELINE_KEY_PASSPHRASE" in str(refused.value.hint)
