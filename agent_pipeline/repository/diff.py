"""The unified diff: a view for people that the host makes from two trees, never read back by any program of ours."""

from __future__ import annotations

from agent_pipeline import temporary
from agent_pipeline.documents.characters import visible
from agent_pipeline.errors import GitError, StorageError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.git import attempt, borrowing, git


def diff(clone: Clone, base_tree: str, tree: str) -> str:
    """Return what differs as a unified diff. Raises `GitError`, `StorageError` without room for an empty repository.

    Every file is shown as text: a byte of zero, which a shell reads over, would hide a script as "binary". No attribute
    of either tree, of the clone or its branch (newer Gits read those of HEAD), no text conversion and no rename
    detection hides anything: Git looks from an empty repository that borrows the clone's objects. Control, invisible
    and direction-changing characters are written as escapes (CVE-2021-42574). A huge diff is cut in the middle and says
    so.
    """
    flags = ("-r", "-p", "--text", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color", "--full-index")
    try:
        with temporary.scratch("diff") as folder:
            bare = folder / "diff.git"
            git(bare, "init", "--quiet", "--bare", "--template=", "--", str(bare))
            done = attempt(bare, "diff-tree", *flags, "--end-of-options", base_tree, tree, env=borrowing(clone))
    except OSError as error:
        raise StorageError(f"no room to show a difference: {error}", hint="free some space in TMPDIR") from error
    if not done.ok:
        raise GitError(f"Git cannot show the difference: {done.explain()}")
    text = done.stdout.decode("utf-8", "surrogateescape")
    return "\n".join("\t".join(visible(part) for part in line.split("\t")) for line in text.split("\n"))
