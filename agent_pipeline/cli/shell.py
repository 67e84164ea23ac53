"""`shell`."""

from __future__ import annotations

import secrets
from typing import Any

import click

from agent_pipeline.cli import desk as desks
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output, printable
from agent_pipeline.cli.terminal import Terminal
from agent_pipeline.pipeline import locked_image
from agent_pipeline.replay.checks import Bench
from agent_pipeline.replay.shell import open_shell
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.version import base_version
from agent_pipeline.sandbox.engines import NAMES, choose


@command("agent-pipeline shell k3v", network=True)
@click.argument("name", metavar="[ID]", required=False)
@click.option("--sandbox", type=click.Choice(NAMES), help="The sandbox engine; the policy must allow it.")
def shell(out: Output, name: str | None, sandbox: str | None, *, push: bool) -> None:
    """A shell in the sandbox on a proposal's tree, or on HEAD; what it changes is thrown away."""
    desk = desks.here(out, push=push)
    run, base, tree = _place(desk, name)
    policy = desk.landed.policy
    box = choose(desk.config, policy.sandbox.backends, sandbox)
    image = locked_image(desk, box)
    bench = Bench(desk.clone, desk.config, policy, box, image, run, base_version(desk.clone, base))
    copy: dict[str, Any] = {}
    with Terminal() as screen:
        code = open_shell(bench, tree, screen, lambda line: screen.show(_crlf(line)), copy.update)
    out.finish(
        {"tree": tree, "sandbox": box.name, "copy": copy, "exit": code},
        lambda: f"the shell ended with {code}; nothing is kept",
    )


def _place(desk: Desk, name: str | None) -> tuple[str, str, str]:
    """Return the run's name, the base commit and the tree."""
    if name is None:
        head = desk.clone.commit("HEAD")
        return f"shell-{secrets.token_hex(4)}", head, desk.clone.tree(head)
    dossier = desks.find_dossier(desk, name)
    return dossier.record.id, dossier.proposal.base, dossier.proposal.tree


def _crlf(line: str) -> bytes:
    """Return a line as a raw terminal shows it: what tools said is made visible first, as everywhere."""
    return printable(line).replace("\n", "\r\n").encode() + b"\r\n"
