"""The top of the command line: every command's name and one line, nothing else imported."""

from __future__ import annotations

import sys

import click

from agent_pipeline.cli.lazy import LazyGroup, UnwrittenError
from agent_pipeline.cli.output import Output
from agent_pipeline.errors import UsageError
from agent_pipeline.version import VERSION

COMMANDS = {
    "init": ("init:init", "Set up this repository."),
    "doctor": ("doctor:doctor", "What works here and what does not, and how to mend it."),
    "demo": ("demo:demo", "The whole way on a real project; no key or account needed."),
    "request": ("request:request", "Ask for a change; runs to a verified, replayed proposal."),
    "land": ("land:land", "Every next step that your roles allow; then who must do what."),
    "list": ("show:list_", "All requests and their state."),
    "show": ("show:show", "One request: its proofs and what comes next."),
    "diff": ("show:diff", "What a proposal changes, or how two differ."),
    "log": ("show:log", "What happened to a request, in order."),
    "transcript": ("show:transcript", "What the agent did, step by step."),
    "stop": ("stop:stop", "Stop a run on this machine, or everything."),
    "resume": ("stop:resume", "Let work go on after `stop --all`."),
    "shell": ("shell:shell", "A shell in the sandbox, on a proposal's tree or on HEAD."),
    "close": ("stop:close", "Close a request without landing it."),
    "ci": ("ci:ci", "What CI does: verify, replay, stage, merge."),
    "review": ("review:review", "What reviewers do: list, approve, reject."),
    "join": ("trust.joining:join", "Offer your public key to this repository."),
    "trust": ("trust.group:trust", "Who may do what: pin, show, add, remove, rotate, revoke, sign."),
    "keys": ("keys:keys", "Your own keys: generate, list."),
    "audit": ("audit:audit", "The shared log: verify all of it, or see what is new."),
    "policy": ("policy:policy", "The policy: check, migrate."),
    "image": ("image:image", "The sandbox images: build, list, export, import, push, pull, rm."),
    "bundle": ("bundle:bundle", "A proposal as one file: export, import, verify offline."),
    "sandbox": ("sandbox:sandbox", "The sandboxes on this machine: sweep."),
}


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExample:\n  agent-pipeline request \"parse('') raises IndexError; it should return None\"\n\n"
    "\b\nExit codes: 0 yes · 1 the answer is no · 2 used wrongly · 3 could not tell · 130 interrupted\n\n"
    '\b\nCompletion: eval "$(_AGENT_PIPELINE_COMPLETE=bash_source agent-pipeline)"',
)
@click.version_option(VERSION, prog_name="agent-pipeline")
def cli() -> None:
    """Every line an agent writes is proven before it lands."""


def main() -> None:
    """Run the command line; the entry point of the package."""
    out = Output("--json" in sys.argv)
    try:
        code = _run(out)
    except (OSError, UnwrittenError) as error:
        from agent_pipeline.cli.options import failed  # noqa: PLC0415 - hardly ever

        code = failed(error if isinstance(error, OSError) else error.error, out)
    sys.exit(code)


def _run(out: Output) -> int:
    try:
        code = cli.main(prog_name="agent-pipeline", standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.exceptions.NoArgsIsHelpError as error:
        out.talk(error.format_message())
        return UsageError.exit_code
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"`{context.command_path} --help` shows how" if context else "`agent-pipeline --help` shows how"
        out.error(UsageError(error.format_message(), hint=hint))
        return UsageError.exit_code
    return code if isinstance(code, int) else 0
