"""A Git object as bytes: `<type> <size>` NUL `<content>`, whose hash is its name. Nothing here parses the content."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from agent_pipeline.errors import SchemaError
from agent_pipeline.frozen import frozen

KINDS: Final = ("commit", "tree", "blob")
_HEADER: Final = re.compile(rb"(commit|tree|blob) (0|[1-9][0-9]{0,8})\x00")
_SHA1, _MAX_HEADER = 40, 32


@frozen
class GitObject:
    """An object: `kind` is one of `KINDS`."""

    kind: str
    content: bytes

    def to_bytes(self) -> bytes:
        """Return what its name is the hash of."""
        return f"{self.kind} {len(self.content)}\0".encode() + self.content

    def name(self, *, sha256: bool = False) -> str:
        """Return the object's name."""
        data = self.to_bytes()
        return hashlib.sha256(data).hexdigest() if sha256 else hashlib.sha1(data, usedforsecurity=False).hexdigest()


def read(data: bytes, name: str) -> GitObject:
    """Return the object called `name`. Raises `SchemaError` when it is not that one.

    SHA-1 is Git's name for the object and no proof by itself: whoever stores it lets Git look for collisions.
    """
    match = _HEADER.match(data[:_MAX_HEADER])
    if match is None or int(match[2]) != len(data) - match.end():
        raise SchemaError(f"{name} is no Git object: its header does not say what follows")
    found = GitObject(match[1].decode("ascii"), data[match.end() :])
    if found.name(sha256=len(name) != _SHA1) != name:
        raise SchemaError(f"the Git object called {name} is another one", hint="somebody changed it; get it again")
    return found
