"""The self-test: what PID 1 reports of its own walls, before anything else runs, against what must be there.

Every fact must be known, and as expected; a wall that is missing, and a fact that nobody expects, are the same error,
and nothing runs then. The report is taken before any untrusted code is in the sandbox, so it is honest unless the
image itself is hostile, which its identity guards; what only the host can know (which control groups hold PID 1, who
owns what the sandbox writes) the host looks at itself.

The normalised report's digest goes into provenance: the same walls on another day give the same digest.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import rfc8785

from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import layout, mounts
from agent_pipeline.sandbox.contract import WORKSPACE
from agent_pipeline.sandbox.mounts import Mount

# Judged by rules, not by one right value.
_FREE: Final = frozenset({"environment", "devices", "mounts", "routes6", "nameservers", "names"})
_STANDING_IN: Final = ("limit.address space", "limit.processes")  # whatever the caller has, where a control group holds
_LOCAL: Final = re.compile(r"\A(?:127\.[0-9.]+|::1)\Z")  # in here that is nobody
_NAMES: Final = frozenset(
    {"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "ip6-localnet", "ip6-mcastprefix"}
    | {"ip6-allnodes", "ip6-allrouters", "localhost4", "localhost6", layout.HOSTNAME}
)
_DEVICES: Final = frozenset(
    "console core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero".split()  # noqa: SIM905
)
_NAMESPACES: Final = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
_CAPABILITIES: Final = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_REFUSED: Final = ("socket-vsock", "socket-packet", "socket-alg", "unshare", "ptrace", "mount", "io-uring")


@dataclass(frozen=True, slots=True)
class Expected:
    """The walls of one backend.

    `environment` are the names of all variables, `private` the namespaces that must not be the host's, `mounts` all
    there are, by where they are. `held` is what the host must find of the control groups that hold PID 1.
    """

    uid: int
    gid: int
    groups: str
    uid_map: str
    environment: frozenset[str]
    private: tuple[str, ...]
    mounts: Mapping[str, Mount]
    limits: Mapping[str, str]
    held: Mapping[str, str]


class ElsewhereError(SandboxError):
    """The engine does not see this host's files: no directory of ours can be the sandbox's workspace."""


@dataclass(frozen=True, slots=True)
class Posture:
    """A self-test that passed: `facts` is the normalised report, `digest` the SHA-256 of its canonical JSON."""

    facts: Mapping[str, str]
    digest: str


def check(report: Mapping[str, str], held: Mapping[str, str], expected: Expected) -> Posture:
    """Compare PID 1's `report`, and what the host found of what it is `held` by, with `expected`.

    Raises `SandboxError` that names the deviations.
    """
    normal = _normalise({**report, **held}, expected)
    normal["mounts"], misplaced = mounts.compare(report.get("mounts", ""), expected.mounts)
    wanted = _fixed(expected)
    wrong = [
        f"{name} is {normal.get(name, 'missing')!r}, not {value!r}"
        for name, value in sorted(wanted.items())
        if normal.get(name) != value
    ]
    wrong += [f"{name} is reported, and nobody expects it" for name in sorted(normal.keys() - wanted - _FREE)]
    wrong += _environment(normal, expected) + _devices(normal) + _routes(normal) + _names(normal) + misplaced
    if wrong:
        raise SandboxError(
            "the sandbox's walls are not as expected, so nothing ran in it: " + "; ".join(wrong[:8]),
            hint="`agent-pipeline doctor` says what this host can do; another backend may hold",
        )
    return Posture(normal, hashlib.sha256(rfc8785.dumps(dict(normal))).hexdigest())


def _fixed(expected: Expected) -> dict[str, str]:
    """Return the facts that have one right value."""
    wanted = {
        "protocol": "1",
        "pid": "1",
        "cwd": WORKSPACE,
        "hostname": "sandbox",
        "dumpable": "0",
        "descriptors": "0 1 2",
        "engine-sockets": "",
        "interfaces": "lo",
        "routes": "",
        "uid_map": expected.uid_map,
        "status.Uid": " ".join([str(expected.uid)] * 4),
        "status.Gid": " ".join([str(expected.gid)] * 4),
        "status.Groups": expected.groups,
        "status.NoNewPrivs": "1",
        "status.Seccomp": "2",
        "refused.write-root": "EROFS",
    }
    wanted |= {f"status.{name}": "0" * 16 for name in _CAPABILITIES}
    wanted |= {f"refused.{name}": "EPERM" for name in _REFUSED}
    wanted |= {f"namespace.{name}": "private" if name in expected.private else "shared" for name in _NAMESPACES}
    return {**wanted, **{f"limit.{name}": value for name, value in expected.limits.items()}, **expected.held}


def _normalise(report: Mapping[str, str], expected: Expected) -> dict[str, str]:
    """Return `report` without what differs from start to start: namespace numbers, limits of the caller's."""
    normal = dict(report)
    for name in _STANDING_IN:
        if name.removeprefix("limit.") not in expected.limits:
            normal.pop(name, None)
    for name in _NAMESPACES:
        key = f"namespace.{name}"
        if re.fullmatch(rf"{name}:\[[0-9]+\]", normal.get(key, "")):
            normal[key] = "shared" if normal[key] == str(Path(f"/proc/self/ns/{name}").readlink()) else "private"
    if "status.Groups" in normal:
        normal["status.Groups"] = " ".join(sorted(set(normal["status.Groups"].split())))
    return normal


def _environment(normal: Mapping[str, str], expected: Expected) -> list[str]:
    found = set(normal.get("environment", "").split())
    wrong = sorted(found ^ expected.environment)
    return [f"environment variables that should not be there, or are missing: {', '.join(wrong)}"] if wrong else []


def _devices(normal: Mapping[str, str]) -> list[str]:
    more = sorted(set(normal.get("devices", "").split()) - _DEVICES)
    return [f"devices in /dev: {', '.join(more)}"] if more else []


def _routes(normal: Mapping[str, str]) -> list[str]:
    return [] if set(normal.get("routes6", "").split()) <= {"lo"} else ["there are IPv6 routes beyond lo"]


def _names(normal: Mapping[str, str]) -> list[str]:
    """Say which name servers are configured, and which names of others are known."""
    servers = sorted(name for name in normal.get("nameservers", "missing").split() if not _LOCAL.match(name))
    known = sorted(set(normal.get("names", "missing").split()) - _NAMES)
    wrong = [f"name servers: {', '.join(servers)}"] if servers else []
    return [*wrong, f"names of other hosts: {', '.join(known)}"] if known else wrong


class OwnerProbe:
    """Proves that the sandbox's `/workspace` is the host's directory, and who owns what is written there.

    A file written inside as root of a user namespace would be the host's root's (containers/bubblewrap#313).
    """

    def __init__(self, workspace: Path, owner: int) -> None:
        """Expect files made in `/workspace` to appear in `workspace`, owned by the host's uid `owner`."""
        self.name = f".agent-pipeline-{secrets.token_hex(8)}"
        self._path, self._owner = workspace / self.name, owner

    def check(self) -> None:
        """Look at the file that the sandbox has written by now, and remove it. Raises `SandboxError`."""
        try:
            found = os.lstat(self._path)
            self._path.unlink()
        except OSError as error:
            raise ElsewhereError(
                "what the sandbox writes to /workspace does not arrive in the directory on this host",
                hint="the engine must run on this host and see the same file system",
            ) from error
        if found.st_uid != self._owner:
            raise SandboxError(f"files made in the sandbox belong to uid {found.st_uid}, not {self._owner}")
