"""`sandbox sweep`."""

from __future__ import annotations

from agent_pipeline import config as configuration
from agent_pipeline.cli.groups import group
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.sandbox import sweep as sweeping


@command("agent-pipeline sandbox sweep")
def sweep(out: Output) -> None:
    """Remove what your runs that were killed left behind; never what is in use, or another user's."""
    removed = sweeping.sweep(configuration.load().runs)
    out.finish(
        {"removed": list(removed)}, lambda: "\n".join(f"removed {name}" for name in removed) or "nothing was left"
    )


sandbox = group(
    "sandbox",
    "The sandboxes on this machine.",
    {"sweep": ("sandbox:sweep", "Remove what runs that were killed left behind.")},
    "agent-pipeline sandbox sweep",
)
