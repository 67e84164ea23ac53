"""What `show` says about a request: what was asked, what changed, who vouches for what, and what comes next.

"Asserted by the runner" stays apart from "seen by CI". Everything said to hold was verified just now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from agent_pipeline import clock
from agent_pipeline.attestation.log_entries import stopped_by
from agent_pipeline.audit import asked, cord, high_water
from agent_pipeline.documents.form import to_plain
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.replay_result import ReplayResult
from agent_pipeline.documents.verification import FAILED, UNKNOWN, Check, Verification
from agent_pipeline.repository import dossier as dossiers
from agent_pipeline.repository import records
from agent_pipeline.repository.dossier import Dossier, open_dossier
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.records import Record
from agent_pipeline.review import evidence
from agent_pipeline.review.logged import about
from agent_pipeline.review.next_step import next_step
from agent_pipeline.review.state import State, state_of
from agent_pipeline.verify.case import read
from agent_pipeline.verify.inputs import LandingInputs
from agent_pipeline.verify.landing import decide
from agent_pipeline.verify.vouched import Vouched, check_claims, so_far, when_merged

MERGES_LOOKED_AT = 1000
WITHOUT_PROPOSAL = ("requested", "failed", "stopped")
CI, HERE = "ci", "here"  # who saw a check
# Landing steps that wait for somebody, rather than having gone wrong.
WAITING = ("admitted", "staged", "proofs", "reviews", "persons", "rules landed", "trial", "target unmoved", "merger")


def report(desk: Desk, name: str, now: datetime) -> dict[str, Any]:
    """Return the document that `show --json` prints. Raises `SchemaError` when a proposal's manifest is gone."""
    prefix, number = records.split_id(name)
    record = records.find(desk.clone, prefix, desk.remote)
    log = high_water.open_log(desk)
    logged = about(desk, log, record.id)
    entries = logged.entries
    state = state_of(record, entries, desk.landed.root)
    stopped = stopped_by(logged.signed)
    document = _asked(record, state) | {
        "stopped": cord.said(stopped) if stopped is not None else None,
        "doubt": asked.doubt(record, desk.landed.root, entries),
    }
    number = number or state.number
    if number is None and state.word in WITHOUT_PROPOSAL:
        number = dossiers.without_manifest(record)
    if state.word == "merged" and number == state.number and number not in record.proposals():
        raise dossiers.lost(record, f"{number}/proposal.json")
    if number is None:
        return document | {"next": next_step(state.word, record.id, desk.landed.root, (), state.request.requester)}
    dossier = open_dossier(record, number)
    staged = evidence.staged_tip(desk, dossier)
    landing = evidence.landing_inputs(desk, dossier, log, now, merger=_any_merger(desk), staged=staged)
    decision = decide(landing)
    merged = next((entry for entry in entries if entry.event == "merged" and entry.request == record.id), None)
    vouched = _when_merged(desk, dossier, landing, merged) if merged is not None else so_far(landing)
    missing = tuple(check.reason for check in decision.checks if check.outcome in (FAILED, UNKNOWN))
    if merged is not None:
        missing = ()
    return (
        document
        | asserted(dossier, vouched.replay)
        | _seen(vouched.replay, decision, merged=merged is not None, newest=number == state.number)
        | {
            "proofs": list(vouched.proofs or decision.proofs),
            "persons": len(vouched.people),
            "people": list(vouched.people),
            "merged_as": merged_as(desk, dossier) if merged is not None else None,
            "signatures": [{"what": what, "who": who} for what, who in vouched.signatures],
            "missing": list(missing) if state.word in ("proposed", "staged", "trial") else [],
            "next": next_step(state.word, dossier.name, desk.landed.root, missing, state.request.requester),
        }
    )


def _when_merged(desk: Desk, dossier: Dossier, landing: LandingInputs, merged: LogEntry) -> Vouched:
    """Return who vouched for a merge, once it claims no more than was proven then. Raises `SignatureError`."""
    then = evidence.as_merged(desk.clone, landing.inputs, dossier.proposal.base, merged)
    held = when_merged(landing, merged)
    check_claims(read(then), replace(landing, inputs=then), merged, held)
    return held


def _asked(record: Record, state: State) -> dict[str, Any]:
    said = state.request
    return {
        "id": record.id,
        "proposal": None if state.number is None else f"{record.id}.{state.number}",
        "state": state.word,
        "detail": state.detail,
        "kind": said.kind,
        "text": said.text,
        "requester": said.requester,
        "created": said.created,
        "trial": said.trial,
        "target": said.target,
        "base": said.base,
        "tree": None,
        "paths": [],
        "engine": said.engine.name,
        "model": said.engine.model,
        "command": list(said.engine.command) if said.engine.command is not None else None,
        "summary": "",
        "usage": None,
        "timings": {},
        "proofs": [],
        "persons": 0,
        "people": [],
        "merged_as": None,
        "signatures": [],
        "checks": [],
        "seen_by": None,
        "missing": [],
    }


def asserted(dossier: Dossier, result: ReplayResult | None) -> dict[str, Any]:
    """Return what the runner says of its run, as `show --json` has it, and how long CI's replay took."""
    facts = dossier.provenance
    finished, started = clock.parse_rfc3339(facts.finished), clock.parse_rfc3339(facts.started)
    return {
        "proposal": dossier.name,
        "tree": dossier.proposal.tree,
        "paths": list(dossier.proposal.paths),
        "engine": facts.engine,
        "model": facts.model.requested if facts.model is not None else None,
        "command": list(facts.command.argv) if facts.command is not None else None,
        "summary": dossier.proposal.summary,
        "usage": to_plain(facts.usage),
        "timings": {
            "run": int((finished - started).total_seconds()),
            "replay": sum(run.seconds for run in result.runs) if result is not None else None,
        },
        "sandbox": to_plain(facts.sandbox),
    }


def _seen(replay: ReplayResult | None, decision: Verification, *, merged: bool, newest: bool) -> dict[str, Any]:
    """Return the checks: what CI replayed and signed, and of the verification done just now what did not pass.

    Each says who saw it; only CI's are signed. What stands in the record's reports is not looked at: nobody signed
    those.
    """
    checks = seen(replay.checks, CI) if replay is not None else []
    if not merged:  # what is merged is consumed: the verifier would refuse to land it again
        checks += seen(went_wrong(decision, newest=newest), HERE)
    return {"checks": checks, "seen_by": CI if replay is not None else None}


def seen(checks: Iterable[Check], by: str) -> list[dict[str, Any]]:
    """Return checks for `show --json`, each with who saw it: CI, which signed it, or this machine just now."""
    return [to_plain(check) | {"seen_by": by} for check in checks]


def merged_as(desk: Desk, dossier: Dossier) -> str | None:
    """Return the merge commit on the target, looked for among its last merges; None when it is further back."""
    at, line = desk.tip(dossier.proposal.target), f"Agent-Pipeline-Proposal: {dossier.name}"
    for _ in range(MERGES_LOOKED_AT):
        if at is None:
            return None
        ours = desk.clone.tree(at) == dossier.proposal.tree and desk.clone.parents(at)[:1] == (dossier.proposal.base,)
        if ours and line in desk.clone.message(at).splitlines():
            return at
        at = next(iter(desk.clone.parents(at)), None)
    return None


def went_wrong(decision: Verification, *, newest: bool) -> list[Check]:
    """Return what did not pass and waits for nobody.

    Once CI has admitted a proposal its commit is on the staged branch, while it is the `newest` of its request: one
    that is not there was moved or taken away.
    """
    bad = [one for one in decision.checks if one.outcome in (FAILED, UNKNOWN)]
    admitted = not any(one.name.endswith("admitted") for one in bad)
    waiting = tuple(word for word in WAITING if not (newest and admitted and word == "staged"))
    return [one for one in bad if not one.name.endswith(waiting)]


def _any_merger(desk: Desk) -> str:
    keys = [keyid for person in desk.landed.root.people if "merger" in person.roles for keyid in person.keys]
    return keys[0] if keys else ""
