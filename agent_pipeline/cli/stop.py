"""`stop`, `close`."""

from __future__ import annotations

import click

from agent_pipeline import clock
from agent_pipeline.audit import leases
from agent_pipeline.cli import desk as desks
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.documents.closure import PREDICATE_TYPE, Closure
from agent_pipeline.documents.statement import Statement
from agent_pipeline.errors import RejectedError, UsageError
from agent_pipeline.repository import records
from agent_pipeline.repository.dossier import closure_path, read_request
from agent_pipeline.repository.refs import RefUpdate
from agent_pipeline.signing import hand as hands


@command("agent-pipeline stop k3v", network=True)
@click.argument("name", metavar="ID")
def stop(out: Output, name: str, *, push: bool) -> None:
    """Stop a run on this machine; its record is kept."""
    desk = desks.here(out, push=push)
    record, _ = desks.find_record(desk, name)
    if not leases.interrupt(desk.config, record.id):
        raise UsageError(
            f"{record.id} is not running on this machine",
            hint=f"`agent-pipeline show {record.id}` says where it stands; `close` keeps it from landing",
        )
    out.finish({"id": record.id, "stopped": True}, lambda: f"{record.id}: asked to stop")


@command("agent-pipeline close k3v", network=True)
@click.argument("name", metavar="ID")
def close(out: Output, name: str, *, push: bool) -> None:
    """Close a request: nothing of it lands any more."""
    desk = desks.here(out, push=push)
    record, _ = desks.find_record(desk, name)
    state = desks.state(desk, record)
    if state.word in ("merged", "closed"):
        raise RejectedError(f"{record.id} is {state.word} already", hint=f"`agent-pipeline show {record.id}`")
    _, request = read_request(record)
    hand = hands.need(desk.config, desk.clone, desk.landed.root, "requester")
    if hand.person != request.requester and "merger" not in hand.roles:
        raise RejectedError(
            f"{record.id} was asked for by {request.requester}", hint=f"ask {request.requester} or a merger to close it"
        )
    closure = Closure(1, record.id, hand.person, clock.rfc3339(clock.now()), "closed by request")
    statement = Statement("closure", closure.digest(), PREDICATE_TYPE, closure.to_dict())
    envelope = hand.signer.statement(statement).to_json()
    commit = records.extend(desk.clone, record, record.id, {closure_path(envelope): envelope})
    update = RefUpdate(records.REQUESTS + record.id, record.tip, commit)
    records.publish(desk.clone, [update], remote=desk.remote)
    out.finish({"id": record.id, "state": "closed"}, lambda: f"{record.id} is closed")
