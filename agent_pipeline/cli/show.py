"""`list`, `show`, `diff`, `log`, `transcript`: reading."""

from __future__ import annotations

import json
import shlex
from typing import Any

import click

from agent_pipeline import clock
from agent_pipeline.audit import asked, cord, high_water
from agent_pipeline.cli import desk as desks
from agent_pipeline.cli.life import life, one_line
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output, in_one_line
from agent_pipeline.cli.reporting import report
from agent_pipeline.documents import transcript as transcripts
from agent_pipeline.errors import AgentPipelineError, UsageError
from agent_pipeline.repository import dossier as dossiers
from agent_pipeline.repository import records, trees
from agent_pipeline.review import evidence
from agent_pipeline.review.state import State, state_of
from agent_pipeline.workspace import absent

WAIT_STEP, WAIT_SECONDS = 2.0, 3600.0
_DONE = ("failed", "stopped", "trial", "staged", "rejected", "closed", "merged")


@command("agent-pipeline list --waiting", network=True)
@click.option("--waiting", is_flag=True, help="Only those that wait for somebody.")
def list_(out: Output, *, waiting: bool, push: bool) -> None:
    """All requests and their state."""
    desk = desks.here(out, push=push)
    log = high_water.open_log(desk)
    rows: list[dict[str, Any]] = []
    for record in records.all_records(desk.clone, desk.remote):
        entries = desks.logged(desk, record.id, log).entries
        try:
            state = state_of(record, entries, desk.landed.root)
        except AgentPipelineError as error:
            unreadable = {"kind": "", "text": error.message, "created": "", "doubt": None}
            rows.append({"id": record.id, "state": "unreadable", **unreadable})
            continue
        if not waiting or state.word in ("proposed", "staged", "trial"):
            rows.append(_row(record.id, state) | {"doubt": asked.doubt(record, desk.landed.root, entries)})
    rows.sort(key=lambda row: (row["created"], row["id"]))
    stopped = cord.pulled(log, desk.landed.root)
    word = None if stopped is None else cord.said(stopped)
    if word is not None:
        out.talk(word)
    document = {"requests": rows, "stopped": word}
    out.finish(document, lambda: "\n".join(one_line(row) for row in rows) or "no requests")


def _row(request: str, state: State) -> dict[str, Any]:
    said = state.request
    number = {} if state.number is None else {"proposal": f"{request}.{state.number}"}
    words = {"kind": said.kind, "text": said.text, "requester": said.requester, "created": said.created}
    return {"id": request, "state": state.word, **number, **words}


@command("agent-pipeline show k3v --wait", network=True)
@click.argument("name", metavar="ID")
@click.option("--wait", is_flag=True, help="Wait until it is staged, or ended otherwise.")
def show(out: Output, name: str, *, wait: bool, push: bool) -> None:
    """One request: its proofs and what comes next."""
    desk = desks.here(out, push=push)
    document = report(desk, name, clock.now())
    deadline = clock.monotonic() + WAIT_SECONDS
    while wait and document["state"] not in _DONE and clock.monotonic() < deadline:
        clock.sleep(WAIT_STEP)
        desk = desks.here(out, push=push)
        document = report(desk, name, clock.now())
    out.finish(document, lambda: life(document))


@command("agent-pipeline diff k3v", network=True)
@click.argument("name", metavar="ID")
@click.argument("other", metavar="[ID]", required=False)
def diff(out: Output, name: str, other: str | None, *, push: bool) -> None:
    """What a proposal changes, or how a second one differs from it."""
    desk = desks.here(out, push=push)
    first = desks.find_dossier(desk, name)
    evidence.check_trees(desk.clone, first)
    old, new = first.proposal.base_tree, first.proposal.tree
    if other is not None:
        second = desks.find_dossier(desk, other)
        evidence.check_trees(desk.clone, second)
        old, new = first.proposal.tree, second.proposal.tree
    text = trees.diff(desk.clone, old, new)
    paths = list(first.proposal.paths)
    document = {"id": first.record.id, "proposal": first.name, "old": old, "tree": new, "paths": paths, "diff": text}
    out.finish(document, lambda: text)


@command("agent-pipeline log k3v", network=True)
@click.argument("name", metavar="ID")
def log(out: Output, name: str, *, push: bool) -> None:
    """What happened to a request, in the order of the shared log."""
    desk = desks.here(out, push=push)
    record, _ = desks.find_record(desk, name)
    _, request = dossiers.read_request(record)
    rows = [{"event": "requested", "by": request.requester, "created": request.created, "proposal": "", "detail": ""}]
    rows += [
        {
            "event": entry.event,
            "by": signed.person,
            "created": entry.created,
            "proposal": f"{record.id}.{entry.number}",
            "detail": entry.detail or "",
        }
        for signed in desks.logged(desk, record.id).signed
        if (entry := signed.entry).request == record.id
    ]
    lines = [f"{row['created']}  {row['event']:<10} {row['proposal']:<19} {row['detail']}".rstrip() for row in rows]
    out.finish({"id": record.id, "events": rows}, lambda: "\n".join(map(in_one_line, lines)))


@command("agent-pipeline transcript k3v", network=True)
@click.argument("name", metavar="ID")
def transcript(out: Output, name: str, *, push: bool) -> None:
    """What the agent did, step by step, as the runner recorded it."""
    desk = desks.here(out, push=push)
    record, number = desks.find_record(desk, name)
    number = number or max(dossiers.runs(record), default=None)
    data = record.read(f"{number}/transcript.jsonl") if number is not None else None
    if data is None:
        raise UsageError(f"{record.id} has no transcript", hint=f"`agent-pipeline show {record.id}` says why")
    lines = transcripts.parse(data)
    out.finish({"id": record.id, "records": lines}, lambda: "\n".join(filter(None, map(_told, lines))))


def _told(line: dict[str, Any]) -> str:
    """Return one record of a transcript as a person reads it."""
    match line["type"]:
        case "header":
            return f"engine {line['engine']}" + (f", model {line['model']}" if "model" in line else "")
        case "turn":
            said = [block.get("text") or _call(block) for block in line["content"]]
            return f"[{line['step']}] " + "\n    ".join(text for text in said if text)
        case "tool":
            mark = "ok" if line["ok"] else "refused"
            return f"    -> {line['name']}: {mark}\n" + "\n".join(
                f"       {x}" for x in line["content"].splitlines()[:20]
            )
        case "command":
            return f"$ {shlex.join(line['argv'])}\n{line['output']}\nexit {line['code']}"
        case "note":
            return _noted(line["event"], line["detail"])
        case _:
            return f"ended: {line['outcome']} ({line.get('detail', '')})".replace(" ()", "")


def _noted(event: str, detail: str) -> str:
    if event != absent.EVENT:
        return f"    note: {event}: {detail}"
    return "\n".join(f"    note: copy: {text}" for text in absent.told(absent.parsed(detail)))


def _call(block: dict[str, Any]) -> str:
    if block.get("type") != "tool_use":
        return ""
    return f"{block.get('name')} {json.dumps(block.get('input'), ensure_ascii=False)[:400]}"
