"""`trust rotate`."""

from __future__ import annotations

import click

from agent_pipeline import clock
from agent_pipeline.attestation import drafts, keys
from agent_pipeline.cli import desk as desks
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.cli.trust.carrying_out import LIFE, Change, carry_out, next_index
from agent_pipeline.cli.trust.naming import one_key_of
from agent_pipeline.cli.trust.offered import compared, need_offer
from agent_pipeline.errors import UsageError


@command("agent-pipeline trust rotate alice --fingerprint SHA256:...", network=True)
@click.argument("name")
@click.option(
    "--key", "old", metavar="KEY", help="Which key to replace, by fingerprint or id, where there are several."
)
@click.option("--fingerprint", metavar="SHA256:...", help="Of the new key, as its owner told you; else it asks.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
def rotate(
    out: Output,
    name: str,
    old: str | None,
    fingerprint: str | None,
    dry_run: bool,  # noqa: FBT001 - click's
    *,
    push: bool,
) -> None:
    """Give somebody the key that they offer, in place of the one they have (or had).

    What the old key signed goes on to count. A root key signs its own successor: the old key for the version in force,
    the new one for the version to come.
    """
    desk = desks.here(out, push=push)
    before = desk.landed.root.person(name)
    if before is None:
        raise UsageError(f"{name} is not in the trust root", hint="`agent-pipeline trust add` adds somebody new")
    replaced = one_key_of(before, desk.landed.root, old)
    key = compared(out, name, need_offer(desk, name), fingerprint)
    until = next_index(desk) + 1
    root = drafts.rotate(desk.landed.root, name, replaced, key, until=until, expires=clock.now() + LIFE)
    document = {"name": name, "old": replaced, "new": key.keyid, "fingerprint": keys.fingerprint(key)}
    carry_out(out, desk, Change(root, f"Give {name} a new key", document), dry_run=dry_run)
