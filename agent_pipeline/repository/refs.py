"""Moving refs: all of them or none, and only from where the caller saw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pygit2

from agent_pipeline import interrupts
from agent_pipeline.documents.characters import visible
from agent_pipeline.errors import GitError, StaleError, UsageError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.git import attempt, git


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """Move `ref` (a full name) from `old` to `new`. `old` None: it must not exist; `new` None: delete it."""

    ref: str
    old: str | None
    new: str | None


def check_name(ref: str) -> None:
    """Raise `UsageError` unless `ref` is a full ref name that no program takes for anything else.

    Git itself accepts `refs/heads/-x`, `refs/heads/HEAD` and invisible characters.
    """
    components = ref.split("/")
    names = components[1:]
    odd = any(name.startswith("-") or name == "HEAD" or visible(name) != name for name in names)
    if components[0] != "refs" or len(components) < 3 or odd or not pygit2.reference_is_valid_name(ref):  # noqa: PLR2004
        raise UsageError(
            f"`{visible(ref)}` is no ref name that can be used",
            hint="give the full name of an ordinary branch, such as refs/heads/main",
        )


def listed(clone: Clone, *folders: str) -> dict[str, str]:
    """Return every ref below `folders` by its full name, with the object that it names, whatever that is.

    No object is looked at: thousands are listed as fast as Git starts. Raises `GitError`.
    """
    said = git(clone, "for-each-ref", "--format=%(objectname) %(refname)", *(folder.rstrip("/") for folder in folders))
    rows = (line.partition(" ") for line in said.decode("utf-8", "surrogateescape").splitlines())
    return {name: oid for oid, _, name in rows}


def update(clone: Clone, updates: Sequence[RefUpdate]) -> None:
    """Move all refs in one transaction.

    Raises `StaleError` when one of them is not where `old` says (nothing has moved then), `GitError` for anything else.
    """
    if not updates:
        return
    for one in updates:
        check_name(one.ref)
    commands = [b"start", *(_command(one) for one in updates), b"prepare", b"commit"]
    with interrupts.held_back():  # cut in two it would leave its locks
        done = attempt(clone, "update-ref", "--stdin", "-z", stdin=b"".join(command + b"\0" for command in commands))
    if done.ok:
        return
    for one in updates:
        if (current := clone.ref(one.ref)) != one.old:
            raise stale(one.ref, one.old, current)
    raise GitError(
        f"Git did not move {', '.join(one.ref for one in updates)}: {done.explain()}",
        hint="another Git process may be at work in this clone; try again",
    )


def stale(ref: str, expected: str | None, found: str | None) -> StaleError:
    """Return the error for a lost race on `ref`."""
    was = f"at {expected[:12]}" if expected else "not there"
    now = f"at {found[:12]}" if found else "gone"
    return StaleError(
        f"{ref} moved meanwhile: it was {was} when this was decided and is {now} now; nothing was changed",
        hint="look at what happened (`agent-pipeline show`), then run the same command again",
    )


def _command(one: RefUpdate) -> bytes:
    ref = one.ref.encode()
    if one.new is None:
        return b"delete %s\0%s" % (ref, (one.old or "").encode())
    if one.old is None:
        return b"create %s\0%s" % (ref, one.new.encode())
    return b"update %s\0%s\0%s" % (ref, one.new.encode(), one.old.encode())
