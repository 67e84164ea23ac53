"""The unified diff: a view for people that the host makes from two trees, never read back by any program of ours."""

from __future__ import annotations

from agent_pipeline.documents.paths import visible
from agent_pipeline.errors import GitError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.git import attempt


def diff(clone: Clone, base_tree: str, tree: str) -> str:
    """Return what differs as a unified diff. Raises `GitError`.

    No attribute of either tree, no text conversion and no rename detection hides anything; control, invisible and
    direction-changing characters are written as escapes (CVE-2021-42574). A huge diff is cut in the middle and says so.
    """
    flags = ("-r", "-p", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color", "--full-index")
    done = attempt(clone, "diff-tree", *flags, "--end-of-options", base_tree, tree)
    if not done.ok:
        raise GitError(f"Git cannot show the difference: {done.explain()}")
    text = done.stdout.decode("utf-8", "surrogateescape")
    return "\n".join("\t".join(visible(part) for part in line.split("\t")) for line in text.split("\n"))
