"""Where the Docker engine is: what the environment names, or the usual socket; and whether anybody listens there.

Only a socket of this host, or a port of its loopback: what stands behind it, a tunnel say, is whoever set it up's to
trust. Unprotected on a network anybody could answer in the engine's place.
"""

from __future__ import annotations

import grp
import os
import re
import socket
from typing import Final
from urllib.parse import urlsplit

from agent_pipeline.errors import SandboxError

_UNIX: Final = "unix://"
_DEFAULT: Final = f"{_UNIX}/var/run/docker.sock"
_LOOPBACK: Final = re.compile(r"\A(?:tcp|http)://(?:127\.[0-9.]+|localhost|\[::1\])(?::[0-9]{1,5})?/?\Z")
_FORWARD: Final = (
    "forward its socket here (`ssh -N -L /run/user/1000/far.sock:/var/run/docker.sock HOST`) and set "
    "DOCKER_HOST to unix:///run/user/1000/far.sock, or unset it"
)
_START: Final = "start it (`systemctl start docker`, or `service docker start`)"


def reached(seconds: float) -> str | None:
    """Return what DOCKER_HOST says, None when it is not set; somebody listens there.

    Raises `SandboxError` that names the place and says what can be done about it.
    """
    named = os.environ.get("DOCKER_HOST") or None
    address = named or _DEFAULT
    if address.startswith(_UNIX):
        _knock_on(address.removeprefix(_UNIX), named is not None, seconds)
        return named
    if not _LOOPBACK.match(address):
        raise SandboxError("the Docker engine that DOCKER_HOST names is not on this host", hint=_FORWARD)
    if os.environ.get("DOCKER_TLS_VERIFY"):
        raise SandboxError(
            f"DOCKER_TLS_VERIFY asks for TLS to the Docker engine at {address}, and a sandbox's stream has none",
            hint=f"unset it where the port is plain; else {_FORWARD}",
        )
    place = urlsplit(address)
    try:
        socket.create_connection((place.hostname or "", place.port or 0), seconds).close()
    except (OSError, ValueError) as error:
        raise SandboxError(
            f"no Docker engine answers at {address}, which DOCKER_HOST names: {_reason(error)}",
            hint="start it, or the tunnel that leads to it, or unset DOCKER_HOST",
        ) from error
    return named


def _knock_on(path: str, named: bool, seconds: float) -> None:  # noqa: FBT001 - of this module only
    where, unset = f"{path}{', which DOCKER_HOST names,' if named else ''}", ", or unset DOCKER_HOST" if named else ""
    try:
        with socket.socket(socket.AF_UNIX) as knocking:
            knocking.settimeout(seconds)
            knocking.connect(path)
    except FileNotFoundError as error:
        raise SandboxError(
            f"the Docker engine is not there: {where} does not exist", hint=f"install docker.io, or {_START}{unset}"
        ) from error
    except PermissionError as error:
        raise SandboxError(f"the Docker engine's socket {where} is closed to you", hint=_opens(path) + unset) from error
    except ConnectionRefusedError as error:
        raise SandboxError(f"the Docker engine does not listen on {where}", hint=_START + unset) from error
    except (OSError, ValueError) as error:
        raise SandboxError(
            f"the Docker engine cannot be asked at {where}: {_reason(error)}", hint=_START + unset
        ) from error


def _opens(path: str) -> str:
    """Return what lets one in, as far as the socket's mode says."""
    try:
        group = grp.getgrgid(os.stat(path).st_gid).gr_name  # noqa: PTH116 - a socket's path, as DOCKER_HOST has it
    except (OSError, KeyError):
        return f"let whoever runs it open {path} to you"
    if group == "root":
        return "run as root, or have dockerd started with `--group`"
    return f"join its group (`usermod -aG {group} NAME` as root, then log in again): its members are as good as root"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
