"""Options that every command takes, and the one place that turns errors into exit codes."""

from __future__ import annotations

import contextlib
import functools
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from agent_pipeline import config as configuration
from agent_pipeline import interrupts, temporary
from agent_pipeline.cli.output import Output, abandon
from agent_pipeline.errors import AgentPipelineError, StorageError, UsageError

YES, NO, USAGE, COULD_NOT_TELL, INTERRUPTED = 0, 1, 2, 3, 130


def command(example: str, *, network: bool = False) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command of a function `f(out, ...)`: with `--json`, `--debug`, an example in its help, and exit codes.

    `network` adds `--no-push`, handed on as `push`.
    """

    def wrap(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def run(*, as_json: bool, debug: bool, no_push: bool = False, **kwargs: Any) -> None:  # noqa: ANN401 - click's
            out = Output(as_json)
            if network:
                kwargs["push"] = not no_push
            sys.exit(guarded(functools.partial(_called, function, out, kwargs), out, debug=debug))

        made: Any = run
        if network:
            made = click.option("--no-push", is_flag=True, help="Stay local: neither fetch nor push.")(made)
        made = click.option("--debug", is_flag=True, help="Show a traceback with an error.")(made)
        made = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(made)
        return click.command(epilog=f"\b\nExample:\n  {example}")(made)

    return wrap


def _called(function: Callable[..., Any], out: Output, kwargs: dict[str, Any]) -> Any:  # noqa: ANN401 - its own
    """Call the command, once what killed ones left is removed.

    Raises `UsageError` for words that are no text: no document could carry them.
    """
    temporary.sweep()
    for value in kwargs.values():
        for word in value if isinstance(value, tuple) else (value,):
            if isinstance(word, str) and any("\ud800" <= char <= "\udfff" for char in word):
                raise UsageError(f"the argument {word!a} is no UTF-8 text", hint="write it as UTF-8")
    return function(out, **kwargs)


def guarded(call: Callable[[], Any], out: Output, *, debug: bool) -> int:
    """Run a command and return its exit code. Every error is said with advice; a traceback only with `debug`."""
    with interrupts.heard():
        try:
            return _told(call, out, debug=debug)
        except OSError as error:  # of the telling
            return failed(error, out)


def _told(call: Callable[[], Any], out: Output, *, debug: bool) -> int:
    try:
        code = call()
    except AgentPipelineError as error:
        if debug:
            out.talk(traceback.format_exc().rstrip())
        out.error(error)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):  # the latter at a question: Ctrl-C, or no
        out.interrupted()
        return INTERRUPTED
    except OSError as error:
        if debug:
            out.talk(traceback.format_exc().rstrip())
        return failed(error, out)
    except Exception:  # noqa: BLE001 - the last place: a defect of ours is "could not tell", with a report to send
        out.error(_defect(out, debug=debug))
        return COULD_NOT_TELL
    return code if isinstance(code, int) else YES


def failed(error: OSError, out: Output) -> int:
    """Say what the system refused, unless nobody reads any more; return the exit code."""
    if not isinstance(error, BrokenPipeError):
        what = f"{error.filename or 'the disk'}: {error.strerror or error}"
        with contextlib.suppress(OSError):  # where the document cannot be written either
            out.error(StorageError(what, hint="free space or rights, then try again"))
    try:
        sys.stdout.flush()
    except OSError:
        abandon(sys.stdout)
    return COULD_NOT_TELL


def _defect(out: Output, *, debug: bool) -> AgentPipelineError:
    text = traceback.format_exc()
    if debug:
        out.talk(text.rstrip())
    where: Path | None = configuration.load().state_dir / "last-defect.txt"
    try:
        assert where is not None  # noqa: S101 - for the type checker
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(f"agent-pipeline {configuration.VERSION}, Python {sys.version}\n\n{text}", encoding="utf-8")
    except OSError:
        where = None
    last = text.strip().splitlines()[-1]
    hint = f"please report it with {where}" if where else "run it again with --debug and please report what it prints"
    return AgentPipelineError(f"this is a defect of agent-pipeline: {last}", hint=hint)
