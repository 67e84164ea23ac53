"""People at their own desks: each with a home, a Git identity, keys and pins; commands are real processes."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KEPT = (
    "PATH",
    "LANG",
    "AGENT_PIPELINE_CACHE",
    "PIP_CERT",
    "PIP_FIND_LINKS",
    "PIP_INDEX_URL",
    "SSL_CERT_FILE",
    "DOCKER_HOST",
)


# How commands are started; a test that is root only in a namespace of its own gives its own user back to them.
LAUNCH = tuple(shlex.split(os.environ.get("AGENT_PIPELINE_TEST_LAUNCH", "")))


@dataclass(frozen=True)
class Done:
    """A finished command."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    def __str__(self) -> str:
        return f"{' '.join(self.argv)} -> {self.code}\n{self.out}\n{self.err}"


@dataclass
class Person:
    """Somebody with a home directory, working in one clone."""

    name: str
    home: Path
    clone: Path
    extra: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / ".gitconfig").write_text(
            f"[user]\n\tname = {self.name.title()}\n\temail = {self.name}@example.org\n[init]\n\tdefaultBranch = main\n"
        )

    @property
    def env(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        own = {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_STATE_HOME": str(self.home / "state"),
        }
        return kept | own | self.extra

    def git(self, *argv: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            ["git", *argv], cwd=cwd or self.clone, env=self.env, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, f"git {' '.join(argv)}: {done.stderr}"
        return done.stdout

    def run(self, *argv: str, timeout: float = 300, **extra: str) -> Done:
        """Run one of our commands in the clone."""
        command = [*LAUNCH, sys.executable, "-P", "-m", "agent_pipeline", *argv]
        done = subprocess.run(
            command, cwd=self.clone, env=self.env | extra, capture_output=True, text=True, check=False, timeout=timeout
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(argv, done.returncode, done.stdout, done.stderr)

    def yes(self, *argv: str, timeout: float = 300, **extra: str) -> Any:
        """Run a command that must say yes; return its JSON document."""
        place = argv.index("--") if "--" in argv else len(argv)
        done = self.run(*argv[:place], "--json", *argv[place:], timeout=timeout, **extra)
        assert done.code == 0, str(done)
        return done.document


CALC = '''"""A calculator."""


def mean(values):
    """Return the arithmetic mean of `values`, 0.0 for none."""
    return sum(values) / len(values)
'''
TEST_CALC = """from calc import mean


def test_mean():
    assert mean([1, 2, 3]) == 2
"""
# The fix and its test, as a command that an agent might be.
FIX = """
import pathlib
source = pathlib.Path("calc.py")
text = source.read_text()
source.write_text(text.replace("/ len(values)", "/ len(values) if values else 0.0"))
tests = pathlib.Path("tests/test_calc.py")
tests.write_text(tests.read_text() + "\\n\\ndef test_mean_of_nothing():\\n    assert mean([]) == 0.0\\n")
"""
ASKED = "mean([]) raises ZeroDivisionError; it should return 0.0"


def project(person: Person) -> None:
    """Make a small project with a bug in the person's clone, and commit it."""
    person.clone.mkdir(parents=True, exist_ok=True)
    person.git("init", "-q", "-b", "main")
    (person.clone / "calc.py").write_text(CALC)
    (person.clone / "tests").mkdir()
    (person.clone / "tests" / "test_calc.py").write_text(TEST_CALC)
    (person.clone / ".env").write_text("TOKEN=secret\n")
    person.git("add", "-A")
    person.git("commit", "-q", "-m", "A calculator")


def ask(person: Person, backend: str, script: str = FIX, *options: str, kind: str = "fix") -> Done:
    """Ask for the fix, with `script` as the agent inside the sandbox."""
    return person.run(
        "request", ASKED, "--kind", kind, "--engine", "command", "--sandbox", backend, "--json", *options,
        "--", "python", "-c", script,
    )  # fmt: skip
