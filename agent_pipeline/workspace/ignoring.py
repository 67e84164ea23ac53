"""Which untracked files do not count: gitignore patterns of the policy, and the base's own .gitignore files.

The base's, never the copy's: what an agent writes into a .gitignore decides nothing about its own change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

import pathspec

from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.trees import MODES, Entry

_NAME = b".gitignore"


class Ignored:
    """Answers for one base tree. As in Git, the deepest .gitignore that says anything about a path decides."""

    def __init__(self, clone: Clone, find: Callable[[bytes], Entry | None], patterns: Iterable[str]) -> None:
        """Take what finds an entry of the base, and the policy's `patterns`; each file is read when first needed."""
        self._clone, self._find = clone, find
        self._patterns = tuple(patterns)
        self._specs: dict[bytes, pathspec.GitIgnoreSpec | None] = {}

    def match(self, path: bytes, *, folder: bool) -> bool:
        """Return whether an untracked file or directory is ignored."""
        full = path + b"/" if folder else path
        if _spec(self._patterns).match_file(_text(full)):
            return True
        above = path
        while above:
            above = above[: above.rstrip(b"/").rfind(b"/") + 1]
            spec = self._spec_of(above)
            said = spec.check_file(_text(full[len(above) :])).include if spec is not None else None
            if said is not None:
                return said
        return False

    def _spec_of(self, folder: bytes) -> pathspec.GitIgnoreSpec | None:
        """Return what the base's .gitignore in `folder` says, None when there is none."""
        if folder not in self._specs:
            entry = self._find(folder + _NAME)
            tracked = entry is not None and entry.mode in MODES
            lines = _text(self._clone.blob(entry.oid)).splitlines() if entry is not None and tracked else None
            self._specs[folder] = _spec(tuple(lines)) if lines is not None else None
        return self._specs[folder]


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


@lru_cache(maxsize=64)
def _spec(lines: tuple[str, ...]) -> pathspec.GitIgnoreSpec:
    """Return what the lines say together. A line that is no pattern says nothing, as in Git."""
    good = []
    for line in lines:
        try:
            pathspec.GitIgnoreSpec.from_lines([line])
        except ValueError:
            continue
        good.append(line)
    return pathspec.GitIgnoreSpec.from_lines(good)
