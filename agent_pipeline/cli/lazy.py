"""Commands that are imported only when they run, so that `--help` answers at once."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click


class UnwrittenError(Exception):
    """Something could not be written, `error` says why: not as an `OSError`, of which click makes an exit code."""

    def __init__(self, error: OSError) -> None:
        """Keep why."""
        super().__init__(str(error))
        self.error = error


@contextmanager
def _past_click() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnwrittenError(error) from error


class LazyGroup(click.Group):
    """A group whose commands are named here with their one-line help, and live in modules of their own."""

    def __init__(self, *args: object, table: Mapping[str, tuple[str, str]], **kwargs: object) -> None:
        """Take `table`: command name to (`module:attribute`, one-line help)."""
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._table = dict(table)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:  # noqa: ANN401 - click's
        """Read the words; help and the version are printed here."""
        with _past_click():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's
        """Run the command."""
        with _past_click():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the table: the order in which people meet them."""
        del ctx
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if cmd_name not in self._table:
            return None
        module, _, attribute = self._table[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"agent_pipeline.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list without importing anything."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._table.items()])
