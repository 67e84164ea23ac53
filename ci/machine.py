"""What `make setup` looks at and changes on the machine: system packages and the sandbox engine.

Only Python's own library; imported by `setup.py`, which runs before anything is installed.
"""

from __future__ import annotations

import contextlib
import ctypes.util
import http.client
import importlib.util
import os
import shutil
import socket
import subprocess  # noqa: TID251 - the package with its own door to processes is not installed yet
import sys
import time
from pathlib import Path

ENGINE_SECONDS = 30
DOCKER_LOG = Path(__file__).resolve().parent.parent / ".cache" / "dockerd.log"
DEFAULT_SOCKET = "/var/run/docker.sock"
HTTP_OK = 200
SECOND_ENGINE = frozenset({"bubblewrap", "libseccomp2", "util-linux"})
TOKEN_MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
FOR_TESTS = frozenset({"openssh-client", "softhsm2", "docker-registry"})  # peers of tests; the program needs none


class Stopped(Exception):  # noqa: N818 - setup stops and says why; nothing is wrong with the program
    """Setup cannot go on; the text says why and what to do."""


def say(step: str, text: str) -> None:
    """Print one line of progress."""
    print(f"setup: {step:<12} {text}", flush=True)


class _Engine(http.client.HTTPConnection):
    """The Docker engine's socket."""

    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=5)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(5)
        self.sock.connect(self.path)


def docker_reachable() -> bool:
    """Whether a Docker engine answers where the Docker client would look for it."""
    host = os.environ.get("DOCKER_HOST", f"unix://{DEFAULT_SOCKET}")
    if not host.startswith("unix://"):
        return docker_command_reachable()
    connection = _Engine(host.removeprefix("unix://"))
    try:
        connection.request("GET", "/_ping")
        return connection.getresponse().status == HTTP_OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def docker_command_reachable() -> bool:
    """Ask through the client: an engine elsewhere has its own ways (TLS, SSH)."""
    client = shutil.which("docker")
    if client is None:
        return False
    return subprocess.run([client, "version"], check=False, capture_output=True, timeout=30).returncode == 0


def missing(*, has_image: bool, has_environment: bool) -> list[str]:
    """Return the Debian packages that are needed and not there."""
    found = []
    if not has_environment and importlib.util.find_spec("ensurepip") is None:
        found.append("python3-venv")
    has_docker = docker_reachable() or bool(shutil.which("dockerd"))
    has_bubblewrap = bool(shutil.which("bwrap"))
    if not has_docker and not has_bubblewrap:
        found.append("docker.io")
    if not has_bubblewrap:
        found.append("bubblewrap")
    if not shutil.which("setpriv") or not shutil.which("unshare"):
        found.append("util-linux")
    if ctypes.util.find_library("seccomp") is None:
        found.append("libseccomp2")
    if not has_image:
        found += [] if shutil.which("mmdebstrap") else ["mmdebstrap"]
        found += [] if Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists() else ["debian-archive-keyring"]
        found += [] if os.geteuid() == 0 or shutil.which("newuidmap") else ["uidmap"]
    found += [] if all(map(shutil.which, ("ssh-keygen", "ssh-agent", "ssh-add"))) else ["openssh-client"]
    found += [] if TOKEN_MODULE.exists() and shutil.which("softhsm2-util") else ["softhsm2"]
    found += [] if shutil.which("docker-registry") else ["docker-registry"]
    return found


def install(packages: list[str]) -> None:
    """Install packages where that is possible and agreed to; otherwise say which, and stop if they are essential."""
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    by_hand = "sudo " + " ".join(command)
    required = essential(packages)
    if shutil.which("apt-get") is None:
        refuse(f"needed and not here: {', '.join(packages)} (Debian's names); install them", required)
    elif os.geteuid() != 0:
        refuse(f"needed and not here; as root: {by_hand}", required)
    elif not agreed(f"install {', '.join(packages)} with apt-get"):
        refuse(f"not installed: {', '.join(packages)}; SETUP=yes agrees beforehand, or: {by_hand}", required)
    else:
        apt_get(command, packages)


def essential(packages: list[str]) -> bool:
    """Whether nothing works without them: with Docker, bubblewrap and what only it uses are a second engine."""
    second = SECOND_ENGINE if docker_reachable() else frozenset[str]()
    return bool(set(packages) - second - FOR_TESTS)


def refuse(text: str, required: bool) -> None:  # noqa: FBT001 - whether that is the end
    """Say what is missing, and stop when nothing works without it."""
    if required:
        raise Stopped(text)
    say("packages", f"going on without the second engine, or without what only tests need; {text}")


def apt_get(command: list[str], packages: list[str]) -> None:
    """Install, with fresh package lists if the ones here do not do."""
    say("packages", f"installing {', '.join(packages)} with apt-get")
    done = quietly(command)
    if done.returncode != 0:
        say("packages", "updating apt's lists first")
        quietly(["apt-get", "update"])
        done = quietly(command)
    if done.returncode != 0:
        raise Stopped(f"apt-get could not install {', '.join(packages)}:\n{done.stdout[-2000:]}")


def quietly(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command of the system without a terminal, keeping what it says."""
    return subprocess.run(
        command,
        check=False,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def agreed(what: str) -> bool:
    """Ask, unless the answer was given beforehand or there is nobody to ask."""
    if os.environ.get("CI") == "true" or os.environ.get("SETUP") == "yes":
        return True
    if not sys.stdin.isatty():
        return False
    return input(f"setup: {what}? [y/N] ").strip().lower() in ("y", "yes")


def engine() -> str:
    """Decide which sandbox engine is used, starting Docker's where nothing else does. Return docker or bubblewrap."""
    if docker_reachable():
        say("engine", "docker: an engine answers")
        return "docker"
    why = "no Docker engine answers"
    if shutil.which("dockerd") and os.geteuid() == 0:
        if not agreed("start the Docker engine"):
            why = "the Docker engine was not to be started"
        else:
            failure = start_docker()
            if failure is None:
                say("engine", "docker: started")
                return "docker"
            why = f"the Docker engine does not start ({failure})"
    if shutil.which("bwrap") is None:
        raise Stopped(f"{why}, and bubblewrap is not installed; as root: apt-get install docker.io bubblewrap")
    say("engine", f"bubblewrap: {why}")
    return "bubblewrap"


def start_docker() -> str | None:
    """Start the engine, by the init system if there is one. Return None when it answers, else why it does not."""
    say("engine", "starting the Docker engine")
    if Path("/run/systemd/system").is_dir():
        done = quietly(["systemctl", "start", "docker"])
        return wait_for_docker(None) if done.returncode == 0 else complaint(done.stdout)
    DOCKER_LOG.parent.mkdir(exist_ok=True)
    with DOCKER_LOG.open("wb") as log:
        process = subprocess.Popen(  # it outlives setup on purpose: it is the machine's engine from now on
            [shutil.which("dockerd") or "dockerd"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    return wait_for_docker(process)


def wait_for_docker(process: subprocess.Popen[bytes] | None) -> str | None:
    """Wait until the engine answers; one of ours that does not is ended."""
    end = time.monotonic() + ENGINE_SECONDS
    while time.monotonic() < end and (process is None or process.poll() is None):
        if docker_reachable():
            return None
        time.sleep(0.2)
    if process is None:
        return "`journalctl -u docker` says why"
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)
    return complaint(DOCKER_LOG.read_text(encoding="utf-8", errors="replace"))


def complaint(said: str) -> str:
    """Return the last complaint of what an engine said, for one line."""
    lines = said.splitlines()[-30:]
    complaints = [line for line in lines if "level=error" in line or "failed" in line] or lines
    return complaints[-1][-400:] if complaints else "it says nothing"
