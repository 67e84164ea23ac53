"""The version that a project would take from Git, given from the base, for packages that ask Git for it."""

from __future__ import annotations

import re

import pygit2
from pygit2.enums import DescribeStrategy

from agent_pipeline.repository.clone import Clone

UNKNOWN = "0.0.0"
_DESCRIBED = re.compile(r"[^0-9]*([0-9]+(?:\.[0-9]+)*)(?:-([0-9]+)-g[0-9a-f]+)?")


def base_version(clone: Clone, commit: str) -> str:
    """Return the nearest tag's numbers, with `.post<n>` after n commits (PEP 440); `0.0.0` without such a tag."""
    try:
        described = clone.objects.describe(committish=commit, describe_strategy=DescribeStrategy.TAGS)
    except (KeyError, pygit2.GitError):
        return UNKNOWN
    match = _DESCRIBED.fullmatch(described)
    if match is None:
        return UNKNOWN
    return match[1] if match[2] is None else f"{match[1]}.post{match[2]}"
