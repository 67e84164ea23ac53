"""The upper directory of an overlay, as the kernel left it: what is there was written, and marks say what is gone.

A character device 0:0 is a whiteout: the path below it is gone. A directory with the opaque mark was made anew: of what
the base has there, only what the upper has too is left. All else is an entry like in a full copy; one that was merely
touched has the base's content and is no change. The workload can write neither mark: the kernel refuses the device,
and keeps an attribute of that name under another.

Source: the kernel's filesystems/overlayfs, "whiteouts and opaque directories".
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from agent_pipeline.repository.listing import GITLINK, TREE, Entry
from agent_pipeline.repository.lookup import Lookup
from agent_pipeline.workspace import reading
from agent_pipeline.workspace.copy import Layers
from agent_pipeline.workspace.findings import Findings


@dataclass(slots=True)
class Upper:
    """Walks an upper directory; of the base and the lower directory, only what it names is looked at."""

    layers: Layers
    base: Lookup
    left_out: frozenset[bytes]
    found: Findings
    device: int = -1
    lower: int = -1

    def read(self) -> None:
        """Read all of it."""
        with reading.folder(self.layers.lower) as self.lower, reading.folder(self.layers.upper) as top:
            self.device = os.fstat(top).st_dev
            self._folder(top, b"", 1, anew=False)

    def _folder(self, handle: int, prefix: bytes, level: int, *, anew: bool) -> None:
        """Read a directory. When it was made `anew`, what the base has and it has not is gone."""
        self.found.in_time()
        names = [os.fsencode(name) for name in reading.names(handle)]
        for name in names:
            self.found.in_time()
            self._entry(handle, name, prefix + name, level, anew=anew)
        if anew:
            there = {prefix + name for name in names}
            self._gone(entry for entry in self.base.children(prefix[:-1]) if entry.path not in there)

    def _entry(self, handle: int, name: bytes, path: bytes, level: int, *, anew: bool) -> None:
        status = os.lstat(name, dir_fd=handle)
        tracked = self.base.find(path)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            self._gone([tracked] if tracked is not None else [])
        elif self._absent(path, tracked):
            self.found.absent(path, left_out=path in self.left_out)
        elif status.st_dev != self.device:
            self.found.elsewhere(path)
        elif stat.S_ISDIR(status.st_mode):
            self._directory(handle, name, path, tracked, level, anew=anew)
        else:
            self._other(handle, name, path, tracked, status)

    def _directory(
        self, handle: int, name: bytes, path: bytes, tracked: Entry | None, level: int, *, anew: bool
    ) -> None:
        known = tracked is not None and tracked.mode == TREE and self.base.holds_files(path)
        submodule = tracked is not None and tracked.mode == GITLINK
        if tracked is not None and tracked.mode not in {TREE, GITLINK}:
            self._gone([tracked])
        elif not known and not submodule and self.found.untracked(name, path, folder=True):
            return
        if not known and self.found.too_deep(path, level):
            return
        with reading.folder(name, handle) as below:
            if submodule:
                self.found.in_submodule(path, below)
            else:
                self._folder(below, path + b"/", level + 1, anew=known and (anew or self._opaque(below)))

    def _other(self, handle: int, name: bytes, path: bytes, tracked: Entry | None, status: os.stat_result) -> None:
        if tracked is not None and tracked.mode == TREE:
            self._gone([tracked])
            tracked = None
        if tracked is None and self.found.untracked(name, path, folder=False):
            return
        self.found.leaf(handle, name, path, tracked, status)

    def _gone(self, entries: Iterable[Entry]) -> None:
        """Note every file at or below `entries` as gone, but for what was never there."""
        for entry in entries:
            self.found.in_time()
            if entry.mode == TREE:
                self._gone(self.base.children(entry.path))
            elif not self._absent(entry.path, entry):
                self.found.gone(entry.path)

    def _absent(self, path: bytes, tracked: Entry | None) -> bool:
        """Whether the base has a file at `path` that the copy did not have.

        The base's own directories lead to it: no link of the lower directory can be on the way.
        """
        if path in self.left_out:
            return True
        if tracked is None or tracked.mode == TREE:
            return False
        try:
            os.lstat(path, dir_fd=self.lower)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}:
                return True
            raise
        return False

    def _opaque(self, handle: int) -> bool:
        try:
            return os.getxattr(handle, self.layers.opaque) == b"y"
        except OSError as error:
            if error.errno == errno.ENODATA:
                return False
            raise
