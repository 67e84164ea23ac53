"""`stop`, `resume`, `close`."""

from __future__ import annotations

import click

from agent_pipeline import clock
from agent_pipeline.audit import leases
from agent_pipeline.cli import desk as desks
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.documents.closure import Closure
from agent_pipeline.errors import RejectedError, UsageError
from agent_pipeline.repository import records
from agent_pipeline.repository.dossier import closure_path, read_request
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.refs import RefUpdate
from agent_pipeline.review import cords
from agent_pipeline.signing import hand as hands


@command("agent-pipeline stop k3v", network=True)
@click.argument("name", metavar="[ID]", required=False)
@click.option("--all", "everything", is_flag=True, help="Stop everything, for everybody: nothing runs or lands.")
@click.option("--reason", help="Why, for --all; everybody reads it.")
def stop(out: Output, *, name: str | None, everything: bool, reason: str | None, push: bool) -> None:
    """Stop a run on this machine; or, with --all, everything for everybody, until `resume`."""
    if everything == (name is not None) or (reason is not None and not everything):
        raise UsageError("name one run to stop, or --all", hint="agent-pipeline stop ID, or stop --all --reason TEXT")
    desk = desks.here(out, push=push)
    if name is None:
        _stop_everything(out, desk, reason)
        return
    record, _ = desks.find_record(desk, name)
    if not leases.interrupt(desk.config, record.id):
        raise UsageError(
            f"{record.id} is not running on this machine",
            hint=f"`agent-pipeline show {record.id}` says where it stands; `close` keeps it from landing",
        )
    out.finish({"id": record.id, "stopped": True}, lambda: f"{record.id}: asked to stop")


def _stop_everything(out: Output, desk: Desk, reason: str | None) -> None:
    """Pull the cord first, for everybody; then end what runs here."""
    index = cords.pull(desk, reason, clock.now())
    ended = [request for request in leases.running(desk.config) if leases.interrupt(desk.config, request)]
    out.finish(
        {"stopped": True, "entry": index, "runs": ended},
        lambda: "\n".join(
            [f"everything is stopped, by entry {index} of the log", *(f"{request}: asked to stop" for request in ended)]
        ),
    )


@command("agent-pipeline resume", network=True)
@click.option("--reason", help="Why; everybody reads it.")
def resume(out: Output, *, reason: str | None, push: bool) -> None:
    """Let work go on after `stop --all`. Needs the role merger or root."""
    desk = desks.here(out, push=push)
    index = cords.release(desk, reason, clock.now())
    out.finish({"stopped": False, "entry": index}, lambda: f"work goes on, by entry {index} of the log")


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
    hand = _closing(desk, record.id, request.requester)
    closure = Closure(1, record.id, hand.person, clock.rfc3339(clock.now()), "closed by request")
    envelope = hand.signer.statement(closure.to_statement()).to_json()
    commit = records.extend(desk.clone, record, record.id, {closure_path(envelope): envelope})
    update = RefUpdate(records.REQUESTS + record.id, record.tip, commit)
    records.publish(desk.clone, [update], remote=desk.remote)
    out.finish({"id": record.id, "state": "closed"}, lambda: f"{record.id} is closed")


def _closing(desk: Desk, request: str, requester: str) -> hands.Hand:
    """Return the hand of who asked, else of a merger. Raises `RejectedError` when this person is neither."""
    config, clone, root = desk.config, desk.clone, desk.landed.root
    found = hands.find(config, clone, root, "requester", person=requester) or hands.find(config, clone, root, "merger")
    if found is not None:
        return found
    hint = f"ask {requester} or a merger to close it"
    try:
        own = hands.need(config, clone, root, "requester")
    except RejectedError as error:
        raise RejectedError(f"{request} was asked for by {requester}: {error.message}", hint=hint) from error
    raise RejectedError(f"{request} was asked for by {requester}, not by {own.person}", hint=hint)
