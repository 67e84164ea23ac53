"""Where an image lies in a registry: `HOST[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST]`.

The grammar is that of the distribution specification, with one difference: the registry's host is never guessed. TLS
is required of every registry but one on loopback, which is spoken to in plain HTTP.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Final

from agent_pipeline.errors import UsageError

_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REFERENCE: Final = re.compile(
    rf"(?P<host>(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?)/"
    rf"(?P<repository>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"(?:@sha256:(?P<digest>[0-9a-f]{64}))?"
)
_MAX: Final = 400
_HUB: Final = "docker.io"
_HUB_API: Final = "registry-1.docker.io"


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository at a registry, and what in it. `digest` is a SHA-256 in hexadecimal, of a manifest."""

    host: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        """Return it as it is written."""
        tag = f":{self.tag}" if self.tag is not None else ""
        return f"{self.host}/{self.repository}{tag}" + (f"@sha256:{self.digest}" if self.digest is not None else "")

    @property
    def origin(self) -> str:
        """Where the registry's API is: scheme, host, port."""
        host = _HUB_API if self.host == _HUB else self.host
        return f"{'http' if is_loopback(_name(self.host)) else 'https'}://{host}"

    def at(self, digest: str) -> Reference:
        """Return the manifest with that SHA-256 in the same repository."""
        return replace(self, tag=None, digest=digest)


def parse(text: str) -> Reference:
    """Read a reference. Raises `UsageError` saying what it must look like."""
    match = _REFERENCE.fullmatch(text) if len(text) <= _MAX else None
    named = match is not None and (match["host"] == "localhost" or any(sign in match["host"] for sign in ".:["))
    if match is None or not named:
        raise UsageError(
            f"`{text[:120]}` names no place in a registry",
            hint="write HOST/REPOSITORY, with :TAG or @sha256:DIGEST, as in ghcr.io/team/sandbox; the host in full",
        )
    return Reference(match["host"], match["repository"], match["tag"], match["digest"])


def is_loopback(name: str) -> bool:
    """Whether a host name or address is this machine's loopback, by its spelling alone."""
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    return host[: host.index("]") + 1] if host.startswith("[") else host.partition(":")[0]
