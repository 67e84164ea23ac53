"""Desks for tests of what goes wrong: a repository that is set up once, and put back as it was for every test."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.leftovers import leftovers
from support.people import FIX, LAUNCH, Done, Person, project

from agent_pipeline import config as configuration

POLICY = ".agent-pipeline/policy.yaml"


@dataclass
class Desk:
    """One person's own directory: home, clone, cache and temporary files, and nothing shared but the images."""

    top: Path
    person: Person

    @property
    def clone(self) -> Path:
        return self.person.clone

    @property
    def config(self) -> Path:
        return self.person.home / "config" / "agent-pipeline"

    def run(self, *argv: str, **extra: str) -> Done:
        """Run a command with `--json`, for a document in every case."""
        place = argv.index("--") if "--" in argv else len(argv)
        return self.person.run(*argv[:place], "--json", *argv[place:], **extra)

    def request(self, script: str = FIX, *options: str, kind: str = "fix", **extra: str) -> Done:
        """Ask for a change with `script` as the agent, in the sandbox that starts fastest."""
        return self.run(*request_line(script, *options, kind=kind), **extra)

    def edit_policy(self, *changes: tuple[str, str]) -> None:
        """Land other rules, as their operator would."""
        path = self.clone / POLICY
        text = path.read_text()
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        path.write_text(text)
        self.person.git("commit", "-q", "-am", "Other rules")

    def refs(self) -> dict[str, str]:
        """Every ref with what it points to."""
        lines = self.person.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return dict(line.split(" ") for line in lines)

    def left(self, *, within: float = 0.0) -> list[str]:
        return leftovers(self.top, within=within)


def request_line(script: str, *options: str, kind: str = "fix") -> tuple[str, ...]:
    return (
        "request", "mean([]) should be 0.0", "--kind", kind, "--engine", "command", "--sandbox", "bubblewrap",
        *options, "--", "python", "-c", script,
    )  # fmt: skip


def make(name: str = "alice") -> Desk:
    """Make an empty desk in a directory that the sandbox's user can reach; pytest's own are closed to it."""
    top = Path(tempfile.mkdtemp(prefix="agent-pipeline-desk-"))
    top.chmod(0o755)
    images = configuration.load().cache_dir
    for kept in ("images", "rootfs"):
        (images / kept).mkdir(parents=True, exist_ok=True)
    for folder in ("cache", "tmp"):
        (top / folder).mkdir()
    extra = {"AGENT_PIPELINE_CACHE": str(top / "cache"), "TMPDIR": str(top / "tmp")}
    for kept in ("images", "rootfs"):
        (top / "cache" / kept).symlink_to(images / kept)
    return Desk(top, Person(name, top / "home", top / "clone", extra))


@contextmanager
def initialised() -> Iterator[Callable[[], Desk]]:
    """Give a way to have an initialised desk at hand, again and again: always the same place, so that pins hold."""
    desk = make()
    try:
        project(desk.person)
        desk.person.yes("init")
        saved = Path(tempfile.mkdtemp(prefix="agent-pipeline-saved-"))
        try:
            shutil.copytree(desk.top, saved / "desk", symlinks=True)

            def restored() -> Desk:
                shutil.rmtree(desk.top)
                shutil.copytree(saved / "desk", desk.top, symlinks=True)
                return Desk(desk.top, Person("alice", desk.person.home, desk.clone, dict(desk.person.extra)))

            yield restored
        finally:
            shutil.rmtree(saved)
    finally:
        shutil.rmtree(desk.top)


def refused(done: Done, code: int, *words: str) -> dict[str, Any]:
    """Check that a command ended as it should: the code, one error with advice, one document; return the error."""
    assert done.code == code, str(done)
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, str(done)
    document = json.loads(done.out)
    assert "error" in document, str(done)
    error = document["error"]
    assert error["message"], str(done)
    assert error["hint"], str(done)
    assert "defect" not in error["message"], str(done)
    said = f"{error['message']}\n{error['hint']}"
    for word in words:
        assert word in said, f"{word!r} is not in what was said:\n{said}"
    return error  # type: ignore[no-any-return]


@dataclass
class Running:
    """A command that is going on, in a process group of its own as in a terminal."""

    process: subprocess.Popen[str]
    argv: tuple[str, ...]
    err: Path

    def wait_for(self, word: str, seconds: float = 30) -> None:
        """Wait until the command has said `word`."""
        self.until(lambda: word in self.err.read_text(), f"it did not say {word!r}", seconds)

    def until(self, true: Callable[[], object], why: str, seconds: float = 30) -> None:
        limit = time.monotonic() + seconds
        while not true():
            assert self.process.poll() is None, f"it ended: {self.process.returncode}\n{self.err.read_text()}"
            assert time.monotonic() < limit, f"{why}\n{self.err.read_text()}"
            time.sleep(0.005)

    def interrupt(self) -> None:
        """Press Ctrl-C: the terminal sends SIGINT to the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self, seconds: float = 30) -> Done:
        """Wait for its end. Only an interpreter that did not get as far as our first line may say where it was."""
        out, _ = self.process.communicate(timeout=seconds)
        told = self.err.read_text()
        assert "Traceback" not in told or self.process.returncode == -signal.SIGINT, told
        return Done(self.argv, self.process.returncode, out, told)


@contextmanager
def running(desk: Desk, *argv: str, **extra: str) -> Iterator[Running]:
    """Start a command, and never leave it running."""
    place = argv.index("--") if "--" in argv else len(argv)
    argv = (*argv[:place], "--json", *argv[place:])
    with tempfile.NamedTemporaryFile(prefix="stderr-", mode="w+") as err:
        process = subprocess.Popen(
            [*LAUNCH, sys.executable, "-P", "-m", "agent_pipeline", *argv],
            cwd=desk.clone,
            env=desk.person.env | extra,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
            start_new_session=True,
        )
        try:
            yield Running(process, argv, Path(err.name))
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
