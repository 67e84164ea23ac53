"""`init`: one commit of at most five files, shown first."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from agent_pipeline import clock
from agent_pipeline import config as configuration
from agent_pipeline.cli import onboarding, setup_commit
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.documents.policy import PATH as POLICY_PATH
from agent_pipeline.documents.words import counted
from agent_pipeline.errors import UsageError
from agent_pipeline.repository import remotes
from agent_pipeline.repository.clone import Clone


@command("agent-pipeline init --test 'python -m pytest -q' --ci github", network=True)
@click.option("--test", "test", help="The command that tests this project; default: python -m pytest -q.")
@click.option("--ci", "ci", type=click.Choice(["github", "gitlab", "hook"]), help="Add a template for this CI.")
def init(out: Output, test: str | None, ci: str | None, *, push: bool) -> None:
    """Set up this repository: measures the base's checks, makes one commit, pins the anchor for you."""
    clone, config = Clone.discover(Path.cwd()), configuration.load()
    argv = _command(test) if test is not None else ("python", "-m", "pytest", "-q")
    remote = clone.remote()
    if remote is not None and push:
        remotes.fetch(clone, remote)
    place = onboarding.survey(clone, remote, config, out.talk)
    setup = onboarding.prepare(place, argv, ci)
    root_path, root = setup_commit.first_root(place, clock.now())
    files = setup.files | {root_path: root}
    out.talk("\nthis is the commit that init makes:")
    for path, data in files.items():
        out.talk(f"  {path} ({len(data)} bytes)")
    if not out.as_json:
        out.talk("")
        out.talk(setup.files[POLICY_PATH].decode())
    if not out.as_json and sys.stdin.isatty():
        click.confirm("Make this commit?", default=True, abort=True, err=True)
    done = setup_commit.commit(place, files, root, clock.now(), push=push)
    document = {
        "branch": done.branch,
        "commit": done.commit,
        "files": list(files),
        "root": f"sha256:{done.root}",
        "trial": done.trial,
        "known_failures": list(setup.known_failures),
        "seconds": setup.seconds,
        "image": setup.image,
    }
    out.finish(document, lambda: _told(done, setup))


def _command(text: str) -> tuple[str, ...]:
    """Return the words of --test. Raises `UsageError` when there are none, or a quotation does not end."""
    try:
        argv = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"--test {text!r}: {error}", hint="quote it as for a shell") from error
    if not argv or not argv[0]:
        raise UsageError("--test is empty", hint="give the command that tests this project")
    return argv


def _told(done: setup_commit.Done, setup: onboarding.Setup) -> str:
    failing = f", {counted(len(setup.known_failures), 'known failure')}" if setup.known_failures else ""
    lines = [
        f"set up on {done.branch.removeprefix('refs/heads/')} as {done.commit[:12]}",
        f"the check takes {setup.seconds} s{failing}",
        f"pinned  sha256:{done.root}",
    ]
    if done.trial:
        lines.append("next:   merge agent-pipeline-setup into the protected branch; until then requests are a trial")
    else:
        lines.append('next:   agent-pipeline request "what is wrong"')
    return "\n".join(lines)
