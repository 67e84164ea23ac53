"""`trust remove`."""

from __future__ import annotations

import click

from agent_pipeline import clock
from agent_pipeline.attestation import drafts
from agent_pipeline.cli import desk as desks
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.cli.trust.carrying_out import LIFE, Change, carry_out, next_index
from agent_pipeline.documents.root import ROLES


@command("agent-pipeline trust remove alice", network=True)
@click.argument("name")
@click.option("--role", "roles", multiple=True, type=click.Choice(ROLES), help="Only this one. May be given again.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
def remove(
    out: Output,
    name: str,
    roles: tuple[str, ...],
    dry_run: bool,  # noqa: FBT001 - click's
    *,
    push: bool,
) -> None:
    """Take somebody out, or roles from somebody. What the log has of them so far goes on to count.

    For a key that was stolen, `agent-pipeline trust revoke` voids what it signed too.
    """
    desk = desks.here(out, push=push)
    # The key may still sign the entry by which it ends.
    until = next_index(desk) + 1
    root = drafts.remove(desk.landed.root, name, roles, until=until, expires=clock.now() + LIFE)
    what = f"Take {', '.join(roles)} from {name}" if roles else f"Take {name} out"
    carry_out(out, desk, Change(root, what, {"name": name, "roles": list(roles)}), dry_run=dry_run)
