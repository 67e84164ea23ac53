"""Trees: what is in one, the next one from a manifest, what differs between two, and a second opinion on that."""

from agent_pipeline.repository.build import Put, build
from agent_pipeline.repository.compare import compare
from agent_pipeline.repository.cross_check import cross_check
from agent_pipeline.repository.diff import diff
from agent_pipeline.repository.listing import EXECUTABLE, FILE, GITLINK, MODES, SYMLINK, Entry, entries, read_tree

__all__ = [
    "EXECUTABLE",
    "FILE",
    "GITLINK",
    "MODES",
    "SYMLINK",
    "Entry",
    "Put",
    "build",
    "compare",
    "cross_check",
    "diff",
    "entries",
    "read_tree",
]
