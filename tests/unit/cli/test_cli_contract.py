"""The command line against its contract: names, options, help and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from agent_pipeline.cli.main import COMMANDS, cli

# The part of the contract that is built; a command that is not in the contract may not exist.
CONTRACT: dict[str, set[str]] = {
    "init": {"--test", "--ci"},
    "doctor": set(),
    "demo": {"--keep"},
    "request": {
        "-F",
        "--kind",
        "--base",
        "--target",
        "--only",
        "--engine",
        "--transcript",
        "--model",
        "--prompt",
        "--max-steps",
        "--max-seconds",
        "--max-usd",
        "--sandbox",
        "--detach",
        "--dry-run",
    },
    "land": set(),
    "list": {"--waiting"},
    "show": {"--wait"},
    "diff": set(),
    "log": set(),
    "transcript": set(),
    "stop": {"--all", "--reason"},
    "resume": {"--reason"},
    "audit verify": set(),
    "audit tail": {"-n", "--follow"},
    "shell": {"--sandbox"},
    "close": set(),
    "ci run": set(),
    "ci replay": {"--out"},
    "ci stage": {"--results"},
    "ci merge": set(),
    "review list": set(),
    "review approve": {"--tree"},
    "review reject": {"--reason"},
    "join": {"--dry-run"},
    "trust pin": set(),
    "trust show": set(),
    "trust add": {"--role", "--fingerprint", "--bot", "--dry-run"},
    "trust remove": {"--role", "--dry-run"},
    "trust rotate": {"--key", "--fingerprint", "--dry-run"},
    "trust revoke": {"--since", "--dry-run"},
    "trust sign": {"--root", "--renew", "--threshold", "--discard", "--dry-run"},
    "keys generate": {"--scheme", "--passphrase"},
    "keys list": set(),
    "policy check": set(),
    "policy migrate": set(),
    "image build": {"--relock", "--locked", "--secret", "--wheels"},
    "image list": set(),
    "image export": set(),
    "image import": set(),
    "image push": {"--lock"},
    "image pull": set(),
    "image rm": {"--force"},
    "bundle export": {"--force"},
    "bundle import": set(),
    "bundle verify": {"--root"},
    "sandbox sweep": set(),
}
COMMON = {"--json", "--debug", "--no-push", "--help"}


def walk(group: click.Group, prefix: str = "") -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= walk(command, f"{prefix}{name} ")
        else:
            found[prefix + name] = command
    return found


ALL = walk(cli)


def test_the_commands_are_those_of_the_contract() -> None:
    assert set(ALL) == set(CONTRACT)


@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_the_options_are_those_of_the_contract(name: str) -> None:
    options = {text for p in ALL[name].params if isinstance(p, click.Option) and not p.hidden for text in p.opts}
    assert options - COMMON == CONTRACT[name]
    assert "--json" in options


@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_every_help_has_an_example_and_a_line_for_each_option(name: str) -> None:
    command = ALL[name]
    text = command.get_help(click.Context(command, info_name=name))
    assert "Example:" in text
    assert f"agent-pipeline {name}" in text
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option))


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_list_says_what_the_command_says(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.help
    assert COMMANDS[name][1]


def run(*argv: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    home = {
        "HOME": str(cwd),
        "PATH": os.environ["PATH"],
        "XDG_CONFIG_HOME": str(cwd / "c"),
        "XDG_STATE_HOME": str(cwd / "s"),
    }
    command = [sys.executable, "-m", "agent_pipeline", *argv]
    return subprocess.run(command, cwd=cwd, env=home | env, capture_output=True, text=True, check=False, timeout=60)


def test_an_unknown_command_is_used_wrongly(tmp_path: Path) -> None:
    done = run("frobnicate", cwd=tmp_path)
    assert done.returncode == 2
    assert "No such command" in done.stderr
    assert "Traceback" not in done.stderr


def test_outside_a_repository_the_error_says_what_to_do(tmp_path: Path) -> None:
    done = run("list", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["kind"] == "UsageError"
    assert "next:" in done.stderr


@pytest.mark.parametrize(
    ("argv", "streams", "code"),
    [
        ("--version", ">/dev/full", 3),
        ("--help", ">/dev/full", 3),
        ("keys list", ">/dev/full", 3),
        ("keys list --json", ">/dev/full", 3),
        ("keys list --json", ">/dev/full 2>/dev/full", 3),
        ("keys list", "2>/dev/full", 0),
        ("keys list", "<&- >&- 2>&-", 0),
        ("keys list", "| true", 3),
        ("--help", "| true", 3),
        ("trust --help", "| true", 3),
        ("list --json", "| true", 3),
        ("frobnicate --json", "| true", 3),
        ("frobnicate --json", ">/dev/full", 3),
        ("", "2>/dev/full", 2),
        ("trust", "2>/dev/full", 2),
        ("list --debug", "2>/dev/full", 2),
        ("list", "2>/dev/full", 2),
        ("frobnicate", "2>&-", 2),
    ],
)
def test_where_nothing_can_be_written_the_exit_code_says_no_other_thing(
    tmp_path: Path, argv: str, streams: str, code: int
) -> None:
    """A full disk below a log is no answer "no" (1), and none of Python's own codes."""
    script = f'"$0" -m agent_pipeline {argv} {streams}; exit "${{PIPESTATUS[0]}}"'
    home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["bash", "-c", script, sys.executable],
        cwd=tmp_path, env=home, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from agent_pipeline.cli.main import cli; cli.main(['--help'], standalone_mode=False); "
        "print(sorted(m for m in sys.modules if m.split('.')[0] in "
        "('anthropic','docker','pygit2','git','jsonschema','cryptography','yaml','rich')), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr.strip() == "[]"


def test_completion_is_offered(tmp_path: Path) -> None:
    done = run(cwd=tmp_path, _AGENT_PIPELINE_COMPLETE="bash_source")
    assert "complete" in done.stdout
