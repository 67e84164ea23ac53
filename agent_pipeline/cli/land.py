"""`land`: every next step that your roles allow, then who must do what."""

from __future__ import annotations

import contextlib

import click

from agent_pipeline import clock, pipeline
from agent_pipeline.cli import desk as desks
from agent_pipeline.cli.life import life
from agent_pipeline.cli.options import COULD_NOT_TELL, NO, YES, command
from agent_pipeline.cli.output import Output
from agent_pipeline.documents.verification import FAILED, PASSED, UNKNOWN
from agent_pipeline.errors import RejectedError, SchemaError
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.records import Record
from agent_pipeline.review import marks
from agent_pipeline.review import report as reports
from agent_pipeline.signing import hand as hands


@command("agent-pipeline land k3v", network=True)
@click.argument("name", metavar="ID")
def land(out: Output, name: str, *, push: bool) -> int:
    """Verify, replay, stage and merge, as far as your roles allow; then say who must do what."""
    desk = desks.here(out, push=push)
    record = desks.find_newest(desk, name, "land")
    _note_what_was_taken_back(desk, record)
    state = desks.state(desk, record)
    if state.word in ("requested", "failed", "stopped", "trial", "rejected", "closed"):
        document = reports.report(desk, record.id, clock.now())
        raise RejectedError(
            f"{record.id} is {state.word} and cannot land" + (f": {state.detail}" if state.detail else ""),
            hint=document["next"],
        )
    code = YES
    if state.word == "proposed" and _may(desk, "ci"):
        found = pipeline.admit(desk, record.id, None)
        code = YES if found.verdict == PASSED else NO if found.verdict == FAILED else COULD_NOT_TELL
        desk = desks.here(out, push=push)
        state = desks.state(desk, desks.find_record(desk, record.id)[0])
    if state.word == "staged" and _may(desk, "merger"):
        decision, merged = pipeline.land(desk, record.id, clock.now())
        code = COULD_NOT_TELL if decision.verdict == UNKNOWN else code
        desk = desks.here(out, push=push)
        if merged is not None:
            out.talk(f"merged into {merged.target.removeprefix('refs/heads/')} as {merged.new[:12]}")
            if desk.remote is not None:
                out.talk("your own branch did not move: git pull brings it here")
    document = reports.report(desk, record.id, clock.now())
    landed = document["state"] == "merged"
    if not landed and out.as_json:  # without, it stands in what is printed
        for line in (f"{record.id} has not landed", *document["missing"], f"  next: {document['next']}"):
            out.tell(line)
    out.finish(document, lambda: life(document))
    return YES if landed else max(code, NO)


def _note_what_was_taken_back(desk: Desk, record: Record) -> None:
    """Let the log say what reviewers and requester took back, where that falls to this person."""
    role = next((role for role in ("ci", "merger") if _may(desk, role)), None)
    with contextlib.suppress(SchemaError):  # a record that cannot be read: the next step says what is wrong with it
        found = marks.unlogged(record, desks.logged(desk, record.id).entries, desk.landed.root)
        if role is not None and found:
            marks.note_all(desk, hands.need(desk.config, desk.clone, desk.landed.root, role), found)


def _may(desk: Desk, role: str) -> bool:
    return hands.falls_to(desk.config, desk.clone, desk.landed.root, role)
