"""Which untracked files do not count: gitignore patterns of the policy, and the base's own .gitignore files.

The base's, never the copy's: what an agent writes into a .gitignore decides nothing about its own change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pathspec

from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.trees import MODES, Entry

_NAME = b".gitignore"


class Ignored:
    """Answers for one base tree. As in Git, the deepest .gitignore that says anything about a path decides."""

    def __init__(self, clone: Clone, base: Mapping[bytes, Entry], patterns: Iterable[str]) -> None:
        """Take the policy's `patterns`, and find the base's .gitignore files; each is read when it is first needed."""
        self._clone = clone
        self._policy = _spec(patterns)
        self._files = {
            path[: -len(_NAME)]: entry.oid
            for path, entry in base.items()
            if entry.mode in MODES and (path == _NAME or path.endswith(b"/" + _NAME))
        }
        self._specs: dict[bytes, pathspec.GitIgnoreSpec] = {}

    def match(self, path: bytes, *, folder: bool) -> bool:
        """Return whether an untracked file or directory is ignored."""
        full = path + b"/" if folder else path
        if self._policy.match_file(_text(full)):
            return True
        above = path
        while above:
            above = above[: above.rstrip(b"/").rfind(b"/") + 1]
            if above in self._files:
                said = self._spec_of(above).check_file(_text(full[len(above) :])).include
                if said is not None:
                    return said
        return False

    def _spec_of(self, folder: bytes) -> pathspec.GitIgnoreSpec:
        if folder not in self._specs:
            lines = _text(self._clone.blob(self._files[folder])).splitlines()
            self._specs[folder] = _spec(lines)
        return self._specs[folder]


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def _spec(lines: Iterable[str]) -> pathspec.GitIgnoreSpec:
    """Return what the lines say together. A line that is no pattern says nothing, as in Git."""
    good = []
    for line in lines:
        try:
            pathspec.GitIgnoreSpec.from_lines([line])
        except ValueError:
            continue
        good.append(line)
    return pathspec.GitIgnoreSpec.from_lines(good)
