"""`sandbox sweep`."""

from __future__ import annotations

from pathlib import Path

from agent_pipeline import config as configuration
from agent_pipeline.cli.groups import group
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import sweep as sandboxes
from agent_pipeline.workspace import places


@command("agent-pipeline sandbox sweep")
def sweep(out: Output) -> None:
    """Remove what your runs that were killed left behind; never what is in use, or another user's."""
    runs = configuration.load().runs
    removed = [*sandboxes.sweep(runs), *_copies(runs)]
    unknown = _unknown(runs, out)
    human = "\n".join(f"removed {name}" for name in removed)
    out.finish({"removed": removed, "unknown": unknown}, lambda: human or "nothing was left")


def _unknown(runs: Path, out: Output) -> list[str]:
    """Return the sandboxes' containers that are none of ours, and say so; none where no engine can be asked."""
    try:
        found = list(sandboxes.unknown(runs))
    except SandboxError:
        return []  # no engine is no mistake: bubblewrap has none
    if found:
        out.talk(
            f"not touched: {', '.join(found)}: nothing here says whose they are; another user's, or of a cache that "
            "was deleted (`docker rm --force NAME` removes one)"
        )
    return found


def _copies(runs: Path) -> list[str]:
    """Remove copies whose owner is dead; return their directories."""
    before = sorted(path for path in runs.glob(f"{places.PREFIX}*") if path.is_dir())
    places.sweep(runs)
    return [str(path) for path in before if not path.exists()]


sandbox = group(
    "sandbox",
    "The sandboxes on this machine.",
    {"sweep": ("sandbox:sweep", "Remove what runs that were killed left behind.")},
    "agent-pipeline sandbox sweep",
)
