"""`sandbox sweep`."""

from __future__ import annotations

from pathlib import Path

from agent_pipeline import config as configuration
from agent_pipeline.cli.groups import group
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.sandbox import sweep as sandboxes
from agent_pipeline.workspace import places


@command("agent-pipeline sandbox sweep")
def sweep(out: Output) -> None:
    """Remove what your runs that were killed left behind; never what is in use, or another user's."""
    runs = configuration.load().runs
    removed = [*sandboxes.sweep(runs), *_copies(runs)]
    human = "\n".join(f"removed {name}" for name in removed)
    out.finish({"removed": removed}, lambda: human or "nothing was left")


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
