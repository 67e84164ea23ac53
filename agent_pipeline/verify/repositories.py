"""Whether two addresses are those of one repository: people fetch by SSH what CI fetches by HTTPS."""

from __future__ import annotations

import re

_URL = re.compile(r"(?:git\+)?(?:https?|ssh|git)://(?:[^/@]*@)?(?P<host>[^/]+)/(?P<path>.+)", re.IGNORECASE)
_SCP = re.compile(r"(?:[^/@:]+@)?(?P<host>[^/:@]{2,}):(?!//)(?P<path>.+)")
_DEFAULT_PORT = re.compile(r":(?:22|80|443|9418)$")


def canonical(address: str) -> tuple[str, str]:
    """Return host and path without what only says how to get there; a folder has the host ""."""
    if address.startswith("file://"):
        return "", address.removeprefix("file://").rstrip("/") or "/"
    match = _URL.fullmatch(address) or _SCP.fullmatch(address)
    if match is None or address.startswith(("/", ".")):
        return "", address.rstrip("/") or address
    path = match["path"].strip("/").removesuffix(".git")
    return _DEFAULT_PORT.sub("", match["host"].lower()), path


def same(one: str, other: str) -> bool:
    """Return whether both addresses are those of one repository."""
    return canonical(one) == canonical(other)
