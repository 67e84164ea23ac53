"""`trust revoke`."""

from __future__ import annotations

from typing import Any

import click

from agent_pipeline import clock
from agent_pipeline.attestation import drafts, keys
from agent_pipeline.audit import high_water
from agent_pipeline.audit import log as audit_log
from agent_pipeline.audit.log import Log
from agent_pipeline.cli import desk as desks
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.cli.trust.carrying_out import LIFE, Change, carry_out
from agent_pipeline.cli.trust.naming import find_key
from agent_pipeline.documents.root import Key, TrustRoot
from agent_pipeline.documents.words import counted
from agent_pipeline.errors import RejectedError, UsageError
from agent_pipeline.repository.landed import Desk
from agent_pipeline.review import signed_by


@command("agent-pipeline trust revoke SHA256:... --since 17 --dry-run", network=True)
@click.argument("key", metavar="KEY|FINGERPRINT")
@click.option(
    "--since",
    type=click.IntRange(min=0),
    metavar="INDEX",
    help="The first entry of the log that may be the thief's; without it only what comes from now on is void.",
)
@click.option("--dry-run", is_flag=True, help="Only list what the key signed and what would change.")
def revoke(
    out: Output,
    key: str,
    since: int | None,
    dry_run: bool,  # noqa: FBT001 - click's
    *,
    push: bool,
) -> int:
    """Void what a stolen key signs, from an entry of the log on, and list what it ever signed."""
    desk = desks.here(out, push=push)
    found = find_key(desk.landed.root, key)
    first = audit_log.read(desk.clone, desk.remote, desk.landed.root).next_index if since is None else since
    draft = _draft(desk, found, first)
    log = high_water.open_log_by(desk, draft) if isinstance(draft, TrustRoot) else high_water.open_log(desk)
    size = log.next_index
    if since is not None and since > size:
        raise UsageError(
            f"the log has {counted(size, 'entry', 'entries')}: nothing has the index {since} yet",
            hint="leave --since out to void only what comes from now on",
        )
    signed = {"keyid": found.keyid, "since": first} | _signed(desk, log, found, first)
    _tell(out, signed, first)
    if not isinstance(draft, TrustRoot):
        if not dry_run:
            raise draft
        why, hint = draft.message, draft.hint  # the list is what was asked for
        out.finish(signed | {"dry_run": True, "refused": why}, lambda: f"it would be refused: {why}; {hint}")
        return draft.exit_code
    said = f"Revoke {found.owner}'s key {keys.fingerprint(found)} from entry {first} of the log on"
    carry_out(out, desk, Change(draft, said, signed), dry_run=dry_run)
    return 0


def _draft(desk: Desk, key: Key, since: int) -> TrustRoot | RejectedError | UsageError:
    """Return the version that revokes `key`, or why there can be none."""
    try:
        return drafts.revoke(desk.landed.root, key.keyid, since=since, expires=clock.now() + LIFE)
    except (RejectedError, UsageError) as error:
        return error


def _signed(desk: Desk, log: Log, key: Key, since: int) -> dict[str, Any]:
    """Return what the key signed, in the records and in the log, and what of it would be void."""
    looked = signed_by.touched(desk, key, log, since)
    return {
        "proposals": [
            {
                "name": row.name,
                "state": row.state,
                "signed": [
                    {"what": mark.what, "logged": mark.logged, "void": mark.logged is None or mark.logged >= since}
                    for mark in row.marks
                ],
                "command": row.command,
                "becomes": row.becomes,
            }
            for row in looked.touched
        ],
        "unread": [{"name": name, "why": why} for name, why in looked.unread],
        "entries": [
            {"index": row.index, "event": row.event, "request": row.request, "void": row.index >= since}
            for row in signed_by.entries_by(log, key)
        ],
    }


def _tell(out: Output, signed: dict[str, Any], since: int) -> None:
    """Say it for a person: one line for each proposal, and the command that takes it back."""
    proposals = counted(len(signed["proposals"]), "proposal")
    entries = counted(len(signed["entries"]), "entry", "entries")
    out.talk(f"signed by this key ({proposals}, {entries} of the log):")
    for row in signed["proposals"]:
        marks = [f"{mark['what']} ({_place(mark)})" for mark in row["signed"]]
        out.talk(f"  {row['name']}  {row['state']}: {', '.join(marks)}")
        if row["becomes"]:
            out.talk(f"      {_becomes(row['state'], row['becomes'])}")
        if row["command"]:
            out.talk(f"      to take it back: {row['command']}")
    if signed["unread"]:
        out.talk(
            f"not looked through ({len(signed['unread'])}): whether this key signed any of it nobody here can tell"
        )
    for row in signed["unread"]:
        out.talk(f"  {row['name']}: {row['why']}")
    for entry in signed["entries"]:
        about = f" of {entry['request']}" if entry["request"] else ""
        out.talk(f"  entry {entry['index']}: {entry['event']}{about}{', void from now on' if entry['void'] else ''}")
    out.talk(f"what the log has below entry {since} goes on to count; everything else by this key is void")


def _becomes(state: str, after: str) -> str:
    """Say what becomes of a proposal whose state rests on entries of the log that are void then."""
    judged = " and CI's next run judges it anew" if after == "proposed" else ""
    if state in ("rejected", "closed"):
        return f"open again then ({after}): the entry by which it was {state} is void,{judged or ' and it waits'}"
    return f"{after} then: what the log has of it by this key is void,{judged or ' and it waits'}"


def _place(mark: dict[str, Any]) -> str:
    place = "never logged" if mark["logged"] is None else f"entry {mark['logged']}"
    return f"{place}, void from now on" if mark["void"] else place
