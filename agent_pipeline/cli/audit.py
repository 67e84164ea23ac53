"""`audit verify|tail`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

import click

from agent_pipeline import clock
from agent_pipeline.audit import high_water
from agent_pipeline.audit.log import Log
from agent_pipeline.audit.walking import Finding
from agent_pipeline.audit.whole import Audit
from agent_pipeline.cli import desk as desks
from agent_pipeline.cli.groups import group
from agent_pipeline.cli.options import NO, YES, command
from agent_pipeline.cli.output import Output, in_one_line
from agent_pipeline.documents.words import counted
from agent_pipeline.repository.landed import Desk

FOLLOW_STEP: Final = 2.0
SHOWN: Final = 20


@command("agent-pipeline audit verify", network=True)
def verify(out: Output, *, push: bool) -> int:
    """Go through the whole log, all that it names and every record; say what is wrong, by whom, and what to do."""
    desk = desks.here(out, push=push)
    audit = Audit(desk)
    found: list[Finding] = []
    for finding in audit.findings():
        found.append(finding)
        out.line(_told(finding))
    document = {
        "holds": not found,
        "entries": audit.size,
        "void": audit.void,
        "merges": audit.merged,
        "records": audit.records,
        "findings": [asdict(finding) for finding in found],
    }
    void = f", {audit.void} of them void" if audit.void else ""
    said = f"{counted(audit.size, 'entry', 'entries')}{void}, {counted(audit.merged, 'merge')}"
    said += f", {counted(audit.records, 'record')}"
    out.finish(document, lambda: f"{said}: {counted(len(found), 'finding')}" if found else f"{said}: all of it holds")
    return NO if found else YES


def _told(finding: Finding) -> str:
    """Return a finding in lines for a person."""
    lines = [finding.what]
    lines += [f"  ref:       {finding.ref}"] if finding.ref else []
    lines += [f"  signed by: {finding.signer}"] if finding.signer else []
    lines += [f"  committer: {finding.committer} (as the commit says)"] if finding.committer else []
    return "\n".join(map(in_one_line, [*lines, f"  next:      {finding.todo}"]))


@command("agent-pipeline audit tail -n 5 --follow", network=True)
@click.option("-n", "count", type=click.IntRange(min=0), default=SHOWN, show_default=True, help="How many entries.")
@click.option("--follow", is_flag=True, help="Go on with what comes, until interrupted.")
def tail(out: Output, count: int, *, follow: bool, push: bool) -> None:
    """The newest entries of the log, oldest first."""
    desk = desks.here(out, push=push)
    log = high_water.open_log(desk)
    first = max(0, log.next_index - count)
    rows = list(_rows(desk, log, first))
    for row in rows:
        out.line(_line(row))
    while follow and not out.as_json:
        clock.sleep(FOLLOW_STEP)
        desk = desks.here(out, push=push)
        first, log = log.next_index, high_water.open_log(desk)
        for row in _rows(desk, log, first):
            out.line(_line(row))
    out.finish({"entries": rows, "size": log.next_index}, lambda: "" if rows else "the log is empty")


def _rows(desk: Desk, log: Log, first: int) -> Iterator[dict[str, Any]]:
    for signed in log.newest_from(first, desk.landed.root):
        entry = signed.entry
        yield {
            "index": entry.index,
            "event": entry.event,
            "by": signed.person,
            "void": signed.ended is not None,
            "created": entry.created,
            "request": entry.request,
            "number": entry.number,
            "detail": entry.detail,
            "envelopes": list(entry.envelopes),
        }


def _line(row: dict[str, Any]) -> str:
    about = f"{row['request']}.{row['number']}" if row["number"] else row["request"] or "everything"
    void = " (void: the key had ended)" if row["void"] else ""
    detail = " ".join((row["detail"] or "").split())
    return f"{row['index']:>6}  {row['created']}  {row['event']:<9} {about:<19} by {row['by']}{void}  {detail}".rstrip()


audit = group(
    "audit",
    "The shared log: whether it holds, and what happened last.",
    {
        "verify": ("audit:verify", "Go through all of it, and through all that it names."),
        "tail": ("audit:tail", "The newest entries."),
    },
    "agent-pipeline audit verify",
)
