"""Libraries of others that are not written in Python, for the tests that ask them: Sigstore's, where Node is there.

They are no part of what is tested, so their absence stops nothing here. The tests say which were asked; where Node is
there, they fail without them.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess  # noqa: TID251 - as in `setup.py`
from pathlib import Path

from machine import say

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "integration" / "interop" / "sigstore-js"
OLDEST = (20, 17)
# npm runs no script of any package, checks every hash of the lock, and reports to nobody.
NPM = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")


def node() -> str | None:
    """Return the Node that is new enough for Sigstore's libraries, None when there is none (or no npm beside it)."""
    path = shutil.which("node")
    if path is None or shutil.which("npm") is None:
        return None
    said = subprocess.run([path, "--version"], check=False, capture_output=True, text=True).stdout
    version = re.match(r"v(\d+)\.(\d+)\.", said)
    return path if version is not None and (int(version[1]), int(version[2])) >= OLDEST else None


def install() -> None:
    """Install what the lock names, unless it is there."""
    if node() is None:
        say("peers", f"no Node {'.'.join(map(str, OLDEST))} with npm on this machine: tests do not ask sigstore-js")
        return
    stamp = FOLDER / "node_modules" / "agent-pipeline-setup.txt"
    wanted = hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="ascii") == wanted:
        say("peers", "unchanged")
        return
    done = subprocess.run([shutil.which("npm") or "npm", *NPM], check=False, cwd=FOLDER, capture_output=True, text=True)
    if done.returncode != 0:
        say(
            "peers", f"sigstore-js cannot be installed, and its tests will fail: {' '.join(done.stderr.split())[-300:]}"
        )
        return
    stamp.write_text(wanted, encoding="ascii")
    say("peers", "sigstore-js, hashes checked")
