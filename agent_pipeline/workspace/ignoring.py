"""Which untracked files do not count: gitignore patterns of the policy, and the base's own .gitignore files.

The base's, never the copy's: what an agent writes into a .gitignore decides nothing about its own change.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from agent_pipeline.errors import PolicyError
from agent_pipeline.policy import rules
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.trees import MODES, Entry

MAX_BYTES: Final = 128 * 1024  # of one .gitignore: a larger one says nothing
_NAME = b".gitignore"
_FOLDER_MARK = "ps_d"  # the group by which pathspec's patterns mark the end of a directory's name

_Patterns = Sequence[GitIgnoreSpecPattern]


class Ignored:
    """Answers for one base tree.

    As in Git, the last pattern of the deepest .gitignore that says anything decides, and an ignored directory decides
    for everything below it.
    """

    def __init__(self, clone: Clone, find: Callable[[bytes], Entry | None], patterns: Iterable[str]) -> None:
        """Take what finds an entry of the base, and the policy's `patterns`; each file is read when first needed."""
        self._clone, self._find = clone, find
        self._policy = _patterns(patterns)
        self._read: dict[bytes, _Patterns] = {}
        self._folders: dict[bytes, bool] = {b"": False}

    def match(self, path: bytes, *, folder: bool) -> bool:
        """Return whether an untracked file or directory is ignored."""
        above = path.rpartition(b"/")[0]
        if above not in self._folders:
            self._folders[above] = self.match(above, folder=True)
        return self._folders[above] or self._alone(path, folder=folder)

    def _alone(self, path: bytes, *, folder: bool) -> bool:
        """Return what the patterns say about the path itself."""
        if _says(self._policy, _text(path), folder=folder):
            return True
        above = path
        while above:
            above = above[: above.rstrip(b"/").rfind(b"/") + 1]
            said = _says(self._patterns_of(above), _text(path[len(above) :]), folder=folder)
            if said is not None:
                return said
        return False

    def _patterns_of(self, folder: bytes) -> _Patterns:
        """Return what the base's .gitignore in `folder` says, if there is one."""
        if folder not in self._read:
            entry = self._find(folder + _NAME)
            tracked = entry is not None and entry.mode in MODES and self._clone.size(entry.oid) <= MAX_BYTES
            text = _text(self._clone.blob(entry.oid)) if entry is not None and tracked else ""
            self._read[folder] = _patterns(text.split("\n"))
        return self._read[folder]


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def _patterns(lines: Iterable[str]) -> _Patterns:
    """Return the patterns of these lines. A line that is none says nothing, as in Git.

    Nor does one with a set that Git and Python's expressions read differently (`[[:upper:]]`), or with so many `*` that
    one name could take for ever: what it would ignore counts as a change.
    """
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        for line in lines:
            try:
                rules.check_bounded(line)
                found.append(GitIgnoreSpecPattern(line.removesuffix("\r")))
            except (ValueError, re.error, FutureWarning, PolicyError):
                continue
    return found


def _says(patterns: _Patterns, path: str, *, folder: bool) -> bool | None:
    """Return what the last pattern that names `path` says: ignored, not ignored, or None when no pattern names it.

    pathspec's own answers mix what names the path with what names a directory above it, and weigh the two in another
    order than Git does.
    """
    subject = f"{path}/" if folder else path
    for pattern in reversed(patterns):
        if pattern.include is not None and pattern.regex is not None and _names(pattern.regex, subject, len(path)):
            return bool(pattern.include)
    return None


def _names(regex: re.Pattern[str], subject: str, end: int) -> bool:
    """Return whether the pattern names the path itself, not only a directory above it."""
    anchored = regex.pattern.startswith("^")
    match = regex.search(subject) if anchored else regex.search(subject, max(end - 1, 0))
    if match is None:
        return False
    if _FOLDER_MARK in regex.groupindex:
        return match.start(_FOLDER_MARK) in {-1, end}
    return not regex.pattern.endswith("/") or match.end() < len(subject)  # `a/**` names all below `a`, not `a`
