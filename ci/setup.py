"""`make setup`: the environment, a sandbox engine and the sandbox image. Costs nothing the second time.

Runs before anything is installed, so it needs nothing but Python's own library. Every step says in one line what it
decided. It asks before it installs anything on the machine; `SETUP=yes` or `CI=true` is the answer yes, given
beforehand. Exit codes: 0 ready, 2 used wrongly, 3 not possible here (the last line says what to do).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess  # noqa: TID251 - the package with its own door to processes is not installed yet
import sys
import time
from pathlib import Path

import machine
import peers
from machine import Stopped, say

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "agent-pipeline-setup.txt"
IMAGE = VENV / "agent-pipeline-image.txt"
LOCK = ROOT / "ci" / "requirements.lock"
OLDEST = (3, 11)
NEWER = ("python3.14", "python3.13", "python3.12", "python3.11")


def main() -> int:
    """Do every step, in order; return the exit code."""
    started = time.monotonic()
    if sys.version_info < OLDEST:
        return with_newer_python()
    os.chdir(ROOT)
    try:
        packages()
        environment()
        engine = machine.engine()
        image(engine)
        peers.install()
    except Stopped as reason:
        print(f"setup: stopped: {reason}", file=sys.stderr, flush=True)
        return 3
    except KeyboardInterrupt:
        print("setup: interrupted; the next `make setup` goes on from here", file=sys.stderr, flush=True)
        return 130
    say("ready", f"in {time.monotonic() - started:.1f} s")
    return 0


def with_newer_python() -> int:
    """Start again with a newer Python, if there is one."""
    for name in NEWER:
        path = shutil.which(name)
        if path is not None:
            os.execv(path, [path, *sys.argv])  # noqa: S606 - the same program, no shell
    print("setup: stopped: Python 3.11 or newer is needed; this is " + sys.version.split()[0], file=sys.stderr)
    return 3


def packages() -> None:
    """See to the system packages that the rest needs."""
    needed = machine.missing(has_image=has_image(), has_environment=PYTHON.exists())
    if not needed:
        say("packages", "nothing is missing on this machine")
        return
    machine.install(needed)


def has_image() -> bool:
    """Whether setup made or found the sandbox image before; the image's own step looks closer."""
    folder = read(IMAGE)
    return bool(folder) and Path(folder, "config.json").is_file()


def environment() -> None:
    """Make `.venv` from the lock, unless nothing changed since it was made."""
    wanted = inputs()
    if read(STAMP) == wanted and works():
        say("environment", "unchanged")
        return
    began = time.monotonic()
    if not works():
        say("environment", f"making .venv with Python {sys.version.split()[0]}")
        run([sys.executable, "-m", "venv", "--clear", str(VENV)], "the virtual environment cannot be made")
    say("environment", f"installing the locked packages of {LOCK.relative_to(ROOT)}, hashes checked")
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    run(
        # Nothing is resolved here: the lock has all of it, and what an older pip would look up by itself is not in it.
        [*pip, "--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", str(LOCK)],
        "the locked packages cannot be installed",
    )
    run([*pip, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)], "the project itself cannot be installed")
    STAMP.write_text(wanted, encoding="utf-8")  # only now: an interrupted setup begins this step again
    say("environment", f"ready ({time.monotonic() - began:.0f} s)")


def inputs() -> str:
    """Return a digest of what the environment is made from."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {ROOT}".encode())
    for path in (ROOT / "pyproject.toml", LOCK, Path(__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def works() -> bool:
    """Whether `.venv` has a Python of this version that starts, with pip."""
    code = f"import sys, pip; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    return PYTHON.exists() and subprocess.run([PYTHON, "-c", code], check=False, capture_output=True).returncode == 0


def read(path: Path) -> str:
    """Return what an earlier setup wrote down, or nothing."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def image(engine: str) -> None:
    """Make the sandbox image, or find it; and hand it to the engine that was chosen."""
    done = subprocess.run([PYTHON, ROOT / "ci" / "image.py", engine, IMAGE], check=False)
    if done.returncode != 0:
        raise Stopped("there is no sandbox image, so nothing can run; see above")


def run(command: list[str], failed: str) -> None:
    """Run a step's command; its output is shown only when it fails."""
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Stopped(f"{failed}:\n{done.stdout[-3000:]}")


if __name__ == "__main__":
    sys.exit(main())
