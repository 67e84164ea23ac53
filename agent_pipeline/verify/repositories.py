"""Whether two addresses are those of one repository: people fetch by SSH what CI fetches by HTTPS."""

from __future__ import annotations

import posixpath
import re
from functools import lru_cache

from agent_pipeline.documents.anchor import Anchor
from agent_pipeline.documents.root import LOCAL, TrustRoot

_URL = re.compile(r"(?:git\+)?(?:https?|ssh|git)://(?:[^/@]*@)?(?P<host>[^/]+)/(?P<path>.+)", re.IGNORECASE)
_SCP = re.compile(r"(?:[^/@:]+@)?(?P<host>[^/:@]{2,}):(?!//)(?P<path>.+)")
_PASSWORD = re.compile(r"(?<=:)//[^/@]*@")
_DEFAULT_PORT = re.compile(r":(?:22|80|443|9418)$")


@lru_cache(maxsize=256)  # many proposals are about the same few
def canonical(address: str) -> tuple[str, str]:
    """Return host and path without what only says how to get there; a folder has the host ""."""
    if address.startswith(("/", "file:///")):
        return "", _folder(address.removeprefix("file://"))
    match = _URL.fullmatch(address) or _SCP.fullmatch(address)
    if match is None or address.startswith(("file://", ".")):
        return "", address.removeprefix("file://").rstrip("/") or address
    path = match["path"].strip("/").removesuffix(".git")
    return _DEFAULT_PORT.sub("", match["host"].lower()), path


def _folder(path: str) -> str:
    """Return an absolute path in its shortest spelling: by its text alone, links are not followed."""
    return "/" + posixpath.normpath(path).strip("/")


def shown(address: str) -> str:
    """Return an address for people: cut to a length, and without the password that it may hold."""
    return _PASSWORD.sub("//", address)[:200]


def misaddressed(root: TrustRoot, anchor: Anchor, url: str) -> str | None:
    """Return why `root` is not that of what is pinned, or `url`, the repository asked for, is not: None when all agree.

    A repository that was set up without a remote has no address: there the pinned digest alone says which one it is.
    """
    addresses = [("the repository asked for", url)]
    if not root.repository.startswith(LOCAL):
        addresses.insert(0, ("the trust root", root.repository))
    for where, address in addresses:
        if not same(address, anchor.url):
            return f"{where} is {shown(address)!r}, but {shown(anchor.url)!r} is pinned"
    if root.branch != anchor.branch:
        return f"the trust root protects {root.branch}, but {anchor.branch} is pinned"
    return None


def same(one: str, other: str) -> bool:
    """Return whether both addresses are those of one repository."""
    return canonical(one) == canonical(other)
