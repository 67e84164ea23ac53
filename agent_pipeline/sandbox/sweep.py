"""Removing what runs that died at a bad moment left behind. Also a program: the watcher of `intents` starts it."""

from __future__ import annotations

import sys
from pathlib import Path

from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.sandbox import cgroups, container, intents


def sweep(runs: Path) -> tuple[str, ...]:
    """Remove what dead owners of `runs` left, with either engine; return the names. Raises `SandboxError`."""
    return intents.sweep(runs, {"group": cgroups.remove, **container.REMOVERS})


def unknown(runs: Path) -> tuple[str, ...]:
    """Return the sandboxes' containers of which nothing is written down in `runs`, neither of the living nor the dead.

    Another user's, most likely, or of somebody whose cache was deleted meanwhile. Raises `SandboxError`.
    """
    found = container.labelled()  # first: what is made after this is written down before
    return tuple(name for name in found if name not in intents.named(runs))


def main() -> int:
    """Sweep the directory that the first argument names."""
    try:
        sweep(Path(sys.argv[1]))
    except AgentPipelineError:
        return 3  # nobody is listening any more; what stays is named in its intent, for the next start
    return 0


if __name__ == "__main__":
    sys.exit(main())
