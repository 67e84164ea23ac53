"""All tests but the long runs, in four parts: `make test`.

Unit tests and those that walk the whole way are their own worlds and share the cores; those of the sandbox, which
exhaust what they can get and watch what is left on the machine, run one after the other, alone. These and the tests of
copies, which are about file systems, have their files on the disk, all others in memory where there is room: a world
that is put back for every test is a thousand files.

All is compiled first: where the environment forbids to write bytecode, each of some thousand processes would compile
everything again, which is two fifths of its time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMPILED = (sys.executable, "-m", "compileall", "-q", "agent_pipeline", "tests")
SHARED = ("-n", "auto", "--maxprocesses", "4", "--dist", "loadscope")
WAITING = ("-n", "3", "--dist", "loadscope")  # for processes and containers, a good part of the time
COPIES = "tests/unit/workspace"
ALONE = ("tests/integration/sandbox", "tests/integration/setup", "tests/security/sandbox")
UNIT = (sys.executable, "tests/hermetic.py", sys.executable, "-m", "pytest", *SHARED)
IN_MEMORY = (
    (*UNIT, "tests/unit", f"--ignore={COPIES}"),
    (
        *(sys.executable, "-m", "pytest", *WAITING, "-m", "not soak", "--ignore", "tests/unit"),
        *(f"--ignore={folder}" for folder in ALONE),
    ),
)
ON_DISK = ((*UNIT, COPIES), (sys.executable, "-m", "pytest", "-m", "not soak", *ALONE))
MEMORY = Path("/dev/shm")
ROOM = 8 << 30  # bytes, several times what was used


@contextmanager
def in_memory() -> Iterator[dict[str, str]]:
    """Give an environment with temporary files in memory, or ours as it is where they do not belong there."""
    if not _fits():
        yield dict(os.environ)
        return
    # A short name: sockets lie below it, whose paths have an end.
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="ap-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o1777)  # as /tmp is: some tests become other users
        yield os.environ | {"TMPDIR": folder}


def _fits() -> bool:
    """Whether there is room, programs may be run from there, and the caller has not chosen another place."""
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK):
        return False
    found = os.statvfs(MEMORY)
    return found.f_bavail * found.f_frsize >= ROOM and not found.f_flag & os.ST_NOEXEC


def main() -> None:
    """Run every part, whatever the others said; fail when one does."""
    with in_memory() as env:
        codes = [subprocess.run(part, env=env, check=False).returncode for part in (COMPILED, *IN_MEMORY)]
    codes += [subprocess.run(part, check=False).returncode for part in ON_DISK]
    sys.exit(1 if any(codes) else 0)


if __name__ == "__main__":
    main()
