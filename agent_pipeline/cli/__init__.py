"""The command line: argv to calls. The only place with exit codes; one file per group of commands.

stdout is data, stderr is talk. With `--json` stdout is exactly one JSON document.
"""

from agent_pipeline.cli.main import main

__all__ = ["main"]
