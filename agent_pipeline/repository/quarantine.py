"""A repository for objects that came from a stranger: apart from every other, gone when it is done with.

It holds a few objects of a larger repository and lacks the rest. Nothing of the objects is read before Git's strictest
check has read them, with its search for SHA-1 collisions; no remote, hook, filter or working tree is there.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pygit2

from agent_pipeline import temporary
from agent_pipeline.documents.git_object import GitObject
from agent_pipeline.errors import GitError, SchemaError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.git import attempt, git

_TYPES: Final = {"commit": 1, "tree": 2, "blob": 3}  # gitformat-pack(5)


# Exit codes of `git fsck` are bits: 2 says that something is missing that another object names. Which of Git's own
# files are missing is the same, and said by messages of their own.
_ONLY_MISSING: Final = (0, 2)
_MISSING: Final = ("-c", "fsck.gitmodulesMissing=ignore", "-c", "fsck.gitattributesMissing=ignore")


@contextmanager
def quarantined(objects: Iterable[GitObject]) -> Iterator[Clone]:
    """Give a bare repository that holds exactly `objects` and no ref, and remove it afterwards.

    Raises `SchemaError` when Git's checks refuse one, `GitError` when Git cannot be asked.
    """
    with temporary.scratch("bundle") as folder:
        bare = folder / "bundle.git"
        git(bare, "init", "--quiet", "--bare", "--template=", "--", str(bare))
        hint = "whoever made the bundle made it by hand; refuse it"
        _ask(bare, hint, "index-pack", "--stdin", stdin=pack(objects))
        check = ("fsck", "--strict", "--full", "--no-dangling", "--no-reflogs", "--no-progress")
        _ask(bare, hint, *_MISSING, *check, ok=_ONLY_MISSING)
        yield Clone(bare, None, pygit2.Repository(str(bare)))


def admit(clone: Clone, objects: Iterable[GitObject]) -> None:
    """Add objects to `clone` for good, once Git found everything there that they refer to. No ref moves.

    Raises `SchemaError` when something that they need is neither among them nor in the clone.
    """
    hint = "fetch first: what the proposal was made on may be missing here"
    _ask(clone, hint, "index-pack", "--strict", "--fsck-objects", "--stdin", stdin=pack(objects))


def _ask(where: Clone | Path, hint: str, *args: str, stdin: bytes = b"", ok: Sequence[int] = (0,)) -> None:
    done = attempt(where, *args, stdin=stdin)
    if done.timed_out:
        raise GitError(f"Git did not look at the bundle's objects: {done.explain()}", hint="try again")
    if done.code not in ok:
        raise SchemaError(f"Git's checks refuse an object of the bundle: {done.explain()}", hint=hint)


def pack(objects: Iterable[GitObject]) -> bytes:
    """Return a pack (gitformat-pack(5), version 2) of whole objects, each once, stored and not compressed."""
    parts = [b""]  # the pack's own header, when they are counted
    for one in objects:
        size = len(one.content)
        head = bytearray([_TYPES[one.kind] << 4 | size & 15])
        size >>= 4
        while size:
            head[-1] |= 0x80
            head.append(size & 0x7F)
            size >>= 7
        parts += [bytes(head), zlib.compress(one.content, 0)]
    parts[0] = b"PACK" + (2).to_bytes(4, "big") + (len(parts) // 2).to_bytes(4, "big")
    digest = hashlib.sha1(usedforsecurity=False)
    for part in parts:
        digest.update(part)
    return b"".join([*parts, digest.digest()])
