"""All tests but the long runs, in three parts: `make test`.

Unit tests and those that walk the whole way are their own worlds and share the cores; those of the sandbox, which
exhaust what they can get and watch what is left on the machine, run one after the other, alone. All is compiled first:
where the environment forbids to write bytecode, each of some thousand processes would compile everything again, which
is two fifths of its time.
"""

from __future__ import annotations

import subprocess
import sys

COMPILED = (sys.executable, "-m", "compileall", "-q", "agent_pipeline", "tests")
SHARED = ("-n", "auto", "--maxprocesses", "4", "--dist", "loadscope")
WAITING = ("-n", "3", "--dist", "loadscope")  # for processes and containers, a good part of the time
ALONE = ("tests/integration/sandbox", "tests/integration/setup", "tests/security/sandbox")
PARTS = (
    (sys.executable, "tests/hermetic.py", sys.executable, "-m", "pytest", *SHARED, "tests/unit"),
    (
        *(sys.executable, "-m", "pytest", *WAITING, "-m", "not soak", "--ignore", "tests/unit"),
        *(f"--ignore={folder}" for folder in ALONE),
    ),
    (sys.executable, "-m", "pytest", "-m", "not soak", *ALONE),
)


def main() -> None:
    """Run every part, whatever the others said; fail when one does."""
    failed = [part for part in (COMPILED, *PARTS) if subprocess.run(part, check=False).returncode != 0]
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
