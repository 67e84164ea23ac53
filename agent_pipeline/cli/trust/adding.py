"""`trust add`."""

from __future__ import annotations

import click

from agent_pipeline import clock
from agent_pipeline.attestation import drafts
from agent_pipeline.cli import desk as desks
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.cli.trust.carrying_out import LIFE, Change, carry_out
from agent_pipeline.cli.trust.offered import compared, need_offer, offered
from agent_pipeline.documents.root import ROLES, Key
from agent_pipeline.repository.landed import Desk


@command("agent-pipeline trust add alice --role reviewer", network=True)
@click.argument("name")
@click.option("--role", "roles", multiple=True, required=True, type=click.Choice(ROLES), help="May be given again.")
@click.option("--fingerprint", metavar="SHA256:...", help="Of the key to add, as its owner told you; else it asks.")
@click.option("--bot", is_flag=True, help="A machine that nobody answers for: it never reviews, and is never root.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
def add(  # noqa: PLR0913 - its options
    out: Output,
    name: str,
    roles: tuple[str, ...],
    fingerprint: str | None,
    bot: bool,  # noqa: FBT001 - click's
    dry_run: bool,  # noqa: FBT001 - click's
    *,
    push: bool,
) -> None:
    """Add a person, or roles or a key for one, in a new signed version of the trust root."""
    desk = desks.here(out, push=push)
    key = _key(out, desk, name, fingerprint)
    root = drafts.add(desk.landed.root, name, key, roles, expires=clock.now() + LIFE, bot=bot)
    document = {"name": name, "roles": list(roles)}
    carry_out(out, desk, Change(root, f"Trust {name} as {', '.join(roles)}", document), dry_run=dry_run)


def _key(out: Output, desk: Desk, name: str, fingerprint: str | None) -> Key | None:
    """Return the key to add, None when only roles are added.

    Somebody who is known gets another key only by its fingerprint.
    """
    if desk.landed.root.person(name) is not None:
        key = offered(desk, name) if fingerprint is not None else None
        return compared(out, name, key, fingerprint) if key is not None else None
    return compared(out, name, need_offer(desk, name), fingerprint)
