"""The git command, behind one wrapper that leaves it nothing to run.

Used where Git itself is the authority: transactions on refs, the second opinion on a tree, strict checks of objects. It
always works on a Git directory named explicitly, from the root directory of the file system: never in a working tree,
never where an agent wrote. The environment is constructed; hooks, fsmonitor, pagers, external diffs, text conversion,
attributes, replace refs and every transport are off. Nothing is fetched or pushed here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from agent_pipeline import process
from agent_pipeline.errors import GitError
from agent_pipeline.repository.clone import Clone

SECONDS: Final = 120
LIMIT: Final = 256 << 20
_ENVIRONMENT: Final = {
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_IMPLICIT_WORK_TREE": "0",  # nothing beside the Git directory is ever read,
    "GIT_INDEX_FILE": "/nonexistent/index",  # nor attributes from the index, which could hide lines of a diff
    "GIT_COMMITTER_NAME": "agent-pipeline",  # for reflogs only; commits are written by `commits.py`
    "GIT_COMMITTER_EMAIL": "agent-pipeline@localhost",
}
_SETTINGS: Final = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "core.attributesFile=/dev/null",
    "core.logAllRefUpdates=true",  # what a ref pointed to before stays findable
    "safe.bareRepository=explicit",
    "protocol.allow=never",
    "transfer.fsckObjects=true",
    "gc.auto=0",
    "core.quotePath=false",
    "advice.graftFileDeprecated=false",
    "maintenance.auto=false",
    "submodule.recurse=false",
)


def git(
    where: Clone | Path,
    *args: str,
    stdin: bytes = b"",
    ok: Sequence[int] = (0,),
    env: Mapping[str, str] | None = None,
    seconds: float = SECONDS,
) -> bytes:
    """Run git on the Git directory `where` and return what it wrote to stdout.

    Raises `GitError` when it ends with a code that is not in `ok`, takes longer than `seconds`, or says more than fits.
    """
    done = attempt(where, *args, stdin=stdin, env=env, seconds=seconds)
    if done.timed_out or done.code not in ok:
        raise GitError(f"Git did not do what it was asked to: {done.explain()}")
    if done.truncated:
        raise GitError(f"`git {args[0]}` said more than {LIMIT} bytes")
    return done.stdout


def attempt(
    where: Clone | Path,
    *args: str,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    seconds: float = SECONDS,
) -> process.Completed:
    """Run git as `git` does, and return how it ended, for callers to whom failure is an answer."""
    folder = where.path if isinstance(where, Clone) else where
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    return process.run(
        ["git", f"--git-dir={folder}", "--literal-pathspecs", "--no-pager", *settings, *args],
        env={**process.inherited("PATH"), **_ENVIRONMENT, **(env or {})},
        cwd=Path("/"),
        stdin=stdin,
        timeout=seconds,
        limit=LIMIT,
    )


def borrowing(clone: Clone) -> dict[str, str]:
    """Return the environment in which another, empty repository reads the objects of `clone`, and nothing else of it.

    The path is quoted as a list that is separated by colons wants it.
    """
    text = os.fspath(clone.path / "objects").replace("\\", "\\\\").replace('"', '\\"')
    return {"GIT_ALTERNATE_OBJECT_DIRECTORIES": f'"{text}"'}
