"""`review list|approve|reject`."""

from __future__ import annotations

from typing import Any

import click

from agent_pipeline import clock
from agent_pipeline.attestation.log_entries import standing_rejections
from agent_pipeline.audit import cord, high_water
from agent_pipeline.cli import desk as desks
from agent_pipeline.cli.groups import group
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.documents.approval import APPROVED, REJECTED
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.verification import FAILED, UNKNOWN
from agent_pipeline.errors import AgentPipelineError, RejectedError
from agent_pipeline.repository import records
from agent_pipeline.repository.dossier import Dossier, open_dossier
from agent_pipeline.repository.landed import Desk
from agent_pipeline.review import approvals, evidence, marks
from agent_pipeline.review import report as reports
from agent_pipeline.review.approvals import Decision
from agent_pipeline.review.state import state_of
from agent_pipeline.signing import hand as hands


@command("agent-pipeline review list", network=True)
def list_(out: Output, *, push: bool) -> None:
    """What waits for a review, with the tree to read and approve."""
    desk = desks.here(out, push=push)
    log = high_water.open_log(desk)
    rows: list[dict[str, Any]] = []
    for record in records.all_records(desk.clone, desk.remote):
        entries = desks.logged(desk, record.id, log).entries
        try:
            state = state_of(record, entries, desk.landed.root)
            row = _row(_verified(desk, open_dossier(record, state.number))) if state.word == "staged" else None
        except AgentPipelineError as error:  # one bad record does not hide the others
            out.tell(f"{record.id}: left alone: {error.message}")
            continue
        rows += [row] if row is not None else []
    out.finish({"waiting": rows}, lambda: "\n".join(_line(row) for row in rows) or "nothing waits for a review")


def _row(dossier: Dossier) -> dict[str, Any]:
    return {
        "id": dossier.record.id,
        "proposal": dossier.name,
        "tree": dossier.proposal.tree,
        "base": dossier.proposal.base,
        "requester": dossier.request.requester,
        "text": dossier.request.text,
    }


def _line(row: dict[str, Any]) -> str:
    text = " ".join(row["text"].split())
    return f"{row['proposal']}  tree {row['tree']}  by {row['requester']}: {text[:60]}"


def _verified(desk: Desk, dossier: Dossier, *, but: tuple[str, ...] = ()) -> Dossier:
    """Return `dossier` if it verifies now, `but` for these steps.

    Raises `RejectedError`: CI admitted it, and the record was changed since.
    """
    checks = evidence.verify_dossier(desk, dossier, clock.now()).checks
    bad = [check for check in checks if check.outcome in (FAILED, UNKNOWN) and check.name.partition(" ")[2] not in but]
    wrong = [f"{check.name}: {check.reason}" for check in bad]
    if wrong:
        raise RejectedError(
            f"{dossier.name} does not verify any more: {'; '.join(wrong[:3])}",
            hint=f"there is nothing to approve; `agent-pipeline show {dossier.record.id}`",
        )
    return dossier


def _staged(desk: Desk, name: str, entries: tuple[LogEntry, ...], approver: str | None = None) -> Dossier:
    """Return the proposal that `name` means: staged, or rejected by reviewers alone since it was.

    One that was rejected may be rejected again; only who rejected it (`approver`) may approve it. Raises
    `RejectedError` for one that CI has not admitted, or has rejected itself.
    """
    record, number = desks.find_record(desk, name)
    state = state_of(record, entries, desk.landed.root)
    if number in (None, state.number):
        if state.word == "staged":
            return _verified(desk, open_dossier(record, state.number))
        if state.word == "rejected":
            dossier = open_dossier(record, state.number)
            about = [one for one in entries if (one.request, one.statement) == (record.id, dossier.statement)]
            by = {one.reviewer for one in standing_rejections(about)}
            if (
                None not in by
                and (approver is None or approver in by)
                and any(one.event == "admitted" for one in about)
            ):
                cord.check_running(desk)  # the step "open" says that too, and that it was rejected
                return _verified(desk, dossier, but=("open",))
    raise RejectedError(
        f"{name} is {state.word}, not staged: there is nothing to review", hint=f"`agent-pipeline show {record.id}`"
    )


@command("agent-pipeline review approve k3v --tree 9daeafb9864c8d8a1c1d3b9f3a0e4f7d5b2c6a10", network=True)
@click.argument("name", metavar="ID")
@click.option("--tree", required=True, help="The tree that you read, in full; `review list` and `show` name it.")
def approve(out: Output, name: str, tree: str, *, push: bool) -> None:
    """Sign that this exact tree may land on its base. Whoever rejected it takes that back."""
    desk = desks.here(out, push=push)
    hand = hands.need(desk.config, desk.clone, desk.landed.root, "reviewer")
    entries = _entries(desk, name)
    dossier = _staged(desk, name, entries, hand.person)
    approvals.check_tree(dossier, tree)
    ended = marks.rejections_by(hand.person, dossier, entries, desk.landed.root)
    approval = approvals.decide(desk, dossier, hand, Decision(APPROVED, takes_back=ended), now=clock.now())
    line = f"approved {dossier.name}, tree {approval.tree}" + (", and took your rejection back" if ended else "")
    _said(out, desk, dossier, line, push=push)


@command("agent-pipeline review reject k3v --reason 'hides the error'", network=True)
@click.argument("name", metavar="ID")
@click.option("--reason", required=True, help="What is wrong; the requester reads it.")
def reject(out: Output, name: str, reason: str, *, push: bool) -> None:
    """Sign that this proposal must not land, and why."""
    desk = desks.here(out, push=push)
    hand = hands.need(desk.config, desk.clone, desk.landed.root, "reviewer")
    dossier = _staged(desk, name, _entries(desk, name))
    approvals.decide(desk, dossier, hand, Decision(REJECTED, reason), now=clock.now())
    _said(out, desk, dossier, f"rejected {dossier.name}", push=push)


def _entries(desk: Desk, name: str) -> tuple[LogEntry, ...]:
    return desks.logged(desk, desks.find_record(desk, name)[0].id).entries


def _said(out: Output, desk: Desk, dossier: Dossier, line: str, *, push: bool) -> None:
    document = reports.report(desks.here(out, push=push), dossier.name, clock.now())
    del desk
    out.finish(document, lambda: f"{line}\nnext: {document['next']}")


review = group(
    "review",
    "What reviewers do: read a change with its proof, then sign that exact tree, or not.",
    {
        "list": ("review:list_", "What waits for a review."),
        "approve": ("review:approve", "Sign that this exact tree may land."),
        "reject": ("review:reject", "Sign that it must not, and why."),
    },
    "agent-pipeline review list",
)
