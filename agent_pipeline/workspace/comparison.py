"""The full comparison: every path of a copy of files with the base's tree, by content."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agent_pipeline.repository.trees import GITLINK, Entry
from agent_pipeline.workspace import reading
from agent_pipeline.workspace.copy import Workspace
from agent_pipeline.workspace.findings import Findings


@dataclass(slots=True)
class Comparison:
    """Walks a copy, and then says what of the base was not met."""

    base: Mapping[bytes, Entry]
    absent: frozenset[bytes]
    found: Findings
    folders: frozenset[bytes] = frozenset()
    left_out: frozenset[bytes] = frozenset()
    device: int = -1
    seen: set[bytes] = field(default_factory=set)

    def read(self, workspace: Workspace) -> None:
        """Compare the whole of `workspace`."""
        self.folders, self.left_out = _parents(self.base), frozenset(workspace.missing.copied.left_out)
        with reading.folder(workspace.path) as top:
            self.device = os.fstat(top).st_dev
            self._folder(top, b"", 1)
        for path in self.base.keys() - self.seen - self.absent:
            self.found.gone(path)

    def _folder(self, handle: int, prefix: bytes, level: int) -> None:
        for name in reading.names(handle):
            self.found.in_time()
            raw = os.fsencode(name)
            self._entry(handle, raw, prefix + raw, level)

    def _entry(self, handle: int, name: bytes, path: bytes, level: int) -> None:
        status = os.lstat(name, dir_fd=handle)
        entry = self.base.get(path)
        folder = stat.S_ISDIR(status.st_mode)
        if path in self.absent:
            self.found.absent(path, left_out=path in self.left_out)
        elif status.st_dev != self.device:
            self.found.elsewhere(path)
        elif (
            entry is None and not (folder and path in self.folders) and self.found.untracked(name, path, folder=folder)
        ):
            return
        elif folder:
            self._descend(handle, name, path, entry, level)
        else:
            if entry is not None:
                self.seen.add(path)
            self.found.leaf(handle, name, path, entry, status)

    def _descend(self, handle: int, name: bytes, path: bytes, entry: Entry | None, level: int) -> None:
        if path not in self.folders and self.found.too_deep(path, level):
            return
        with reading.folder(name, handle) as below:
            if entry is not None and entry.mode == GITLINK:
                self.seen.add(path)
                self.found.in_submodule(path, below)
            else:
                self._folder(below, path + b"/", level + 1)


def _parents(files: Iterable[bytes]) -> frozenset[bytes]:
    """Return every directory that holds one of `files`."""
    found: set[bytes] = set()
    for path in files:
        end = path.rfind(b"/")
        while end > 0 and path[:end] not in found:
            found.add(path[:end])
            end = path.rfind(b"/", 0, end)
    return frozenset(found)
