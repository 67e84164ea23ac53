"""Groups of commands, by name and one line each."""

from __future__ import annotations

from collections.abc import Mapping

import click

from agent_pipeline.cli.lazy import LazyGroup


def group(name: str, text: str, table: Mapping[str, tuple[str, str]], example: str) -> click.Group:
    """Return a group whose commands are imported when they run."""

    def run() -> None:
        """Do nothing: a group only leads to its commands."""

    made: click.Group = click.group(name=name, cls=LazyGroup, table=table, epilog=f"\b\nExample:\n  {example}")(run)
    made.help = text
    return made
