"""What a command has left behind below one directory: the home, clone, cache and temporary files of one desk.

Everything is found by that directory, which is a test's own, so that other work on this machine is neither seen nor
touched. Only looks; removes nothing.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

FORMAT = "{{.Name}} {{range .HostConfig.Mounts}}{{.Source}} {{end}}"
LABEL = "agent-pipeline"
SHORTEST = 8  # letters of a name that no other's group has by chance
PASSING = 5.0  # seconds that somebody else's namespace may live, which has a copy of all that was mounted


def leftovers(top: Path, *, expected: Iterable[Path] = (), within: float = 0.0) -> list[str]:
    """Return one line for each thing that is left below `top`; empty is what every command owes.

    `expected`: mounts that the test itself made. `within`: seconds that what wakes up by itself may take, after a kill.
    """
    until = time.monotonic() + within
    while True:
        found = list(_look(top.resolve(), {str(path.resolve()) for path in expected}))
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.05)


def _look(top: Path, expected: set[str]) -> Iterator[str]:
    yield from _containers(top)
    yield from _mounts(top, expected)
    yield from _control_groups(top)
    yield from _processes(top)
    yield from _files(top)
    yield from _references(top)


def _containers(top: Path) -> Iterator[str]:
    listed = _said("docker", "ps", "-aq", "--filter", f"label={LABEL}").split()
    for line in _said("docker", "inspect", "--format", FORMAT, *listed).splitlines() if listed else ():
        if f" {top}/" in line:
            yield f"container {line}"


def _mounts(top: Path, expected: set[str]) -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place = line.split(" ")[4]
        if place.startswith(f"{top}/") and place not in expected:
            yield f"mount {place}"


def _control_groups(top: Path) -> Iterator[str]:
    """Groups carry the id of the request that they were made for, or `init` and the base."""
    words = {word for ref in _refs(top) if len(word := ref.rsplit("/", 1)[-1]) >= SHORTEST}
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        for name in names:
            if name.startswith(f"{LABEL}.") and any(word in name for word in words):
                yield f"control group {folder}/{name}"


def _refs(top: Path) -> Iterator[str]:
    for clone in _clones(top):
        yield from _said("git", f"--git-dir={clone}", "for-each-ref", "--format=%(refname)").split()


def _processes(top: Path) -> Iterator[str]:
    """Yield processes that were started with something below `top`, live in it, or hold its mounts in a namespace."""
    own = {os.getpid(), os.getppid()}
    word = os.fsencode(f"{top}/")
    home = Path("/proc/self/ns/mnt").readlink()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in own:
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                here = word in os.fsencode(f"{(entry / 'cwd').readlink()}/")
                told = here or any(word in (entry / name).read_bytes() for name in ("environ", "cmdline"))
                if told or ((entry / "ns" / "mnt").readlink() != home and _stays(entry / "mountinfo", word)):
                    yield f"process {entry.name} {line[:200]}"
            except OSError:
                continue  # it ended meanwhile


def _stays(mounts: Path, word: bytes) -> bool:
    """Whether a namespace has such a mount and keeps it. Raises `OSError` when it ends meanwhile."""
    until = time.monotonic() + PASSING
    while word in mounts.read_bytes():
        if time.monotonic() > until:
            return True
        time.sleep(0.05)
    return False


def _files(top: Path) -> Iterator[str]:
    """Yield what is in directories that hold something only while a command runs."""
    for folder in ("cache/runs", "tmp", "home/state/agent-pipeline/running"):
        if (top / folder).is_dir():
            yield from (f"file {path}" for path in sorted((top / folder).iterdir()))
    for folder in ("home/config", "home/state", "cache"):
        for parent, _, names in os.walk(top / folder):
            yield from (f"file {parent}/{name}" for name in names if name.startswith("tmp"))


def _references(top: Path) -> Iterator[str]:
    """Yield locks that nobody holds any more, and refs to something that is not whole."""
    for clone in _clones(top):
        yield from (f"lock {path}" for path in sorted(clone.rglob("*.lock")))
        done = subprocess.run(
            ["git", f"--git-dir={clone}", "fsck", "--connectivity-only", "--no-dangling", "--no-progress"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            yield f"broken {clone}: {done.stdout}{done.stderr}"


def _clones(top: Path) -> list[Path]:
    return [path.parent for path in sorted([*top.glob("*/.git/objects"), *top.glob("*.git/objects")])]


def _said(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout
