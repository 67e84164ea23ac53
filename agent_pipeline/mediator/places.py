"""Where a tool call may reach: paths below the workspace, written as a model writes them."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from agent_pipeline.documents import paths
from agent_pipeline.documents.policy import Policy
from agent_pipeline.errors import PathError
from agent_pipeline.policy import rules
from agent_pipeline.sandbox.contract import WORKSPACE


class ToolError(Exception):
    """A tool call that is refused or failed. Its text goes back to the model, which may try something else."""


def locate(path: str) -> str:
    """Return `path` relative to the workspace ("" is the workspace itself).

    Raises `ToolError` for anything that is not below the workspace. Nothing is resolved: links are the sandbox's
    business, and the sandbox has nothing to reach.
    """
    if "\0" in path or not path:
        raise ToolError("a path must not be empty or contain NUL")
    if path.startswith("/"):
        if path != WORKSPACE and not path.startswith(f"{WORKSPACE}/"):
            raise ToolError(f"`{path}` is outside {WORKSPACE}; paths are relative to it, or absolute below it")
        path = path[len(WORKSPACE) :].lstrip("/")
    if ".." in path.split("/"):
        raise ToolError(f"`{path}` contains `..`; name the path below {WORKSPACE} directly")
    relative = posixpath.normpath(path) if path else ""
    return "" if relative == "." else relative


def writable(policy: Policy, path: str, only: Sequence[str]) -> str:
    """Return the located `path` when the policy allows changing it. Raises `ToolError` with the reason."""
    relative = locate(path)
    if not relative:
        raise ToolError(f"{WORKSPACE} is a directory; name a file in it")
    try:
        paths.check(relative)
    except PathError as error:
        raise ToolError(f"no proposal may carry this path: {error.message}") from error
    reason = rules.may_write(policy, relative, only)
    if reason is not None:
        raise ToolError(reason)
    return relative
