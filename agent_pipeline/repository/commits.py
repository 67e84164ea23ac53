"""Commit objects as bytes: drafted here, signed elsewhere, written as they were signed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import cast

import pygit2
from pygit2.enums import ObjectType

from agent_pipeline.errors import GitError, UsageError
from agent_pipeline.repository.clone import Clone


def draft(  # noqa: PLR0913, PLR0917 - the parts of a commit, in its order
    clone: Clone, tree: str, parents: Sequence[str], message: str, name: str, email: str, moment: datetime
) -> bytes:
    """Return the bytes of an unsigned commit, which are what a signature is made over.

    Raises `UsageError` for a name or message that could end a header early, `GitError` when an object is missing.
    """
    for part in (name, email):
        if not part.strip() or any(character in part for character in "\n\0<>"):
            raise UsageError(f"{part!r} cannot stand in a commit", hint="set user.name and user.email to plain text")
    if "\0" in message or not message.strip():
        raise UsageError("a commit message must say something and hold no NUL character")
    for oid in (tree, *parents):
        clone.size(oid)  # a commit that names a missing object would damage every clone that gets it
    stamp = f"{name} <{email}> {int(moment.timestamp())} +0000"
    headers = [f"tree {tree}", *(f"parent {parent}" for parent in parents), f"author {stamp}", f"committer {stamp}"]
    return ("\n".join(headers) + f"\n\n{message.rstrip()}\n").encode("utf-8", "backslashreplace")


def write(clone: Clone, draft: bytes, signature: str | None) -> str:
    """Store a drafted commit, with its armored signature in the `gpgsig` header, and return its id."""
    data = draft
    if signature is not None:
        headers, _, message = draft.partition(b"\n\n")
        folded = signature.strip().replace("\n", "\n ")
        data = headers + f"\ngpgsig {folded}\n\n".encode() + message
    try:
        return str(clone.objects.write(ObjectType.COMMIT, data))
    except (ValueError, OSError, pygit2.GitError) as error:
        raise GitError(f"cannot store a commit in {clone.path}: {error}") from error


def signature_of(clone: Clone, commit: str) -> tuple[bytes, str] | None:
    """Return what a commit's signature was made over and the armored signature, None for an unsigned commit."""
    try:
        found = clone.objects[commit].peel(pygit2.Commit)
        signature, payload = cast("tuple[bytes | None, bytes | None]", found.gpg_signature)
    except (KeyError, ValueError, pygit2.GitError) as error:
        raise GitError(f"{commit} is no commit in this repository") from error
    if signature is None or payload is None:
        return None
    return payload, signature.decode("utf-8", "backslashreplace")


def committer(clone: Clone, commit: str) -> str:
    """Return who a commit says made it: a claim, for people. Raises `GitError` when there is no such commit."""
    try:
        found = clone.objects[commit].peel(pygit2.Commit).committer
    except (KeyError, ValueError, pygit2.GitError) as error:
        raise GitError(f"{commit} is no commit in this repository") from error
    return f"{found.raw_name.decode('utf-8', 'replace')} <{found.raw_email.decode('utf-8', 'replace')}>"
