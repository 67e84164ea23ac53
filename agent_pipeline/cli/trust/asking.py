"""Asking whether what was just shown is what the person wants; a script has decided."""

from __future__ import annotations

import sys

import click

from agent_pipeline.cli.output import Output


def ask(out: Output, question: str, otherwise: str | None = None) -> None:
    """Ask on a terminal, where no ends the command. A script goes on, and is told `otherwise`: what nobody compared."""
    if not out.as_json and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)
    elif otherwise is not None:
        out.talk(f"note: {otherwise}")
