"""What `show` says about a request: what was asked, what changed, who vouches for what, and what comes next.

"Asserted by the runner" stays apart from "seen by CI". Everything said to hold was verified just now.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from agent_pipeline import clock
from agent_pipeline.attestation import statements
from agent_pipeline.audit import high_water
from agent_pipeline.audit import log as audit_log
from agent_pipeline.documents import levels
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.form import to_plain
from agent_pipeline.documents.replay_result import PREDICATE_TYPE, ReplayResult
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.documents.statement import Statement
from agent_pipeline.documents.summary import Summary
from agent_pipeline.documents.verification import FAILED, UNKNOWN, Verification
from agent_pipeline.errors import RejectedError
from agent_pipeline.repository import records
from agent_pipeline.repository.dossier import TEST_RESULT, Dossier, open_dossier
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.records import Record
from agent_pipeline.review import evidence
from agent_pipeline.review.next_step import next_step
from agent_pipeline.review.state import State, state_of
from agent_pipeline.verify.log import check_log

MERGES_LOOKED_AT = 1000
# Landing steps that wait for somebody, rather than having gone wrong.
WAITING = ("admitted", "staged", "proofs", "reviews", "persons", "rules landed", "trial", "target unmoved", "merger")


def report(desk: Desk, name: str, now: datetime) -> dict[str, Any]:
    """Return the document that `show --json` prints."""
    prefix, number = records.split_id(name)
    record = records.find(desk.clone, prefix, desk.remote)
    log = audit_log.read(desk.clone, desk.remote)
    high_water.check(desk, log)
    entries = check_log(log.envelopes, desk.landed.root)
    state = state_of(record, entries)
    document = _asked(record, state)
    number = number or state.number
    if number is None:
        return document | {"next": next_step(state.word, record.id, desk.landed.root, ())}
    dossier = open_dossier(record, number)
    result = _replayed(dossier, desk.landed.root)
    decision = evidence.decide_landing(desk, dossier, now, merger=_any_merger(desk))
    missing = tuple(check.reason for check in decision.checks if check.outcome in (FAILED, UNKNOWN))
    if state.word == "merged":
        missing = ()
    return (
        document
        | _asserted(dossier, result)
        | _seen(result, decision, merged=state.word == "merged")
        | {
            "proofs": list(decision.proofs) or _merged_proofs(dossier, state),
            "persons": len(_people(dossier, desk)),
            "people": _people(dossier, desk),
            "merged_as": _merged_as(desk, dossier) if state.word == "merged" else None,
            "signatures": _signatures(dossier, desk),
            "missing": list(missing) if state.word in ("proposed", "staged", "trial") else [],
            "next": next_step(state.word, dossier.name, desk.landed.root, missing),
        }
    )


def _asked(record: Record, state: State) -> dict[str, Any]:
    asked = state.request
    return {
        "id": record.id,
        "proposal": None if state.number is None else f"{record.id}.{state.number}",
        "state": state.word,
        "detail": state.detail,
        "kind": asked.kind,
        "text": asked.text,
        "requester": asked.requester,
        "created": asked.created,
        "trial": asked.trial,
        "target": asked.target,
        "base": asked.base,
        "tree": None,
        "paths": [],
        "engine": asked.engine.name,
        "model": asked.engine.model,
        "command": list(asked.engine.command) if asked.engine.command is not None else None,
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


def _asserted(dossier: Dossier, result: ReplayResult | None) -> dict[str, Any]:
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


def _replayed(dossier: Dossier, root: TrustRoot) -> ReplayResult | None:
    """Return the replay that CI signed for this very statement; the record's unsigned reports are not believed."""
    for data in dossier.of(TEST_RESULT):
        try:
            signed = statements.read(data, root, PREDICATE_TYPE, "ci")
            result = ReplayResult.from_dict(signed.statement.predicate.get("x-agent-pipeline"))
        except RejectedError:
            continue
        if result.statement == dossier.statement:
            return result
    return None


def _seen(result: ReplayResult | None, decision: Verification, *, merged: bool) -> dict[str, Any]:
    """Return the checks: what CI replayed and signed, and of the verification done just now what did not pass."""
    checks = [to_plain(check) for check in result.checks] if result is not None else []
    if not merged:  # what is merged is consumed: the verifier would refuse to land it again
        checks += [to_plain(check) for check in decision.checks if check.outcome == FAILED and not waits(check.name)]
    return {"checks": checks, "seen_by": "ci" if result is not None else None}


def _merged_as(desk: Desk, dossier: Dossier) -> str | None:
    """Return the merge commit on the target, looked for among its last merges; None when it is further back."""
    at, line = desk.tip(dossier.proposal.target), f"Agent-Pipeline-Proposal: {dossier.name}"
    for _ in range(MERGES_LOOKED_AT):
        if at is None:
            return None
        if line in desk.clone.message(at).splitlines():
            return at
        at = next(iter(desk.clone.parents(at)), None)
    return None


def waits(check: str) -> bool:
    """Return whether a landing step by this name waits for somebody when it does not pass."""
    return any(check.endswith(word) for word in WAITING)


def _any_merger(desk: Desk) -> str:
    keys = [keyid for person in desk.landed.root.people if "merger" in person.roles for keyid in person.keys]
    return keys[0] if keys else ""


def _signatures(dossier: Dossier, desk: Desk) -> list[dict[str, str]]:
    """Return who signed what, for signatures that hold; in the order of the pipeline."""
    found = [("request", dossier.request_envelope)]
    order = ("provenance", "test-result", "summary", "approval", "merge")
    found += [(kind, data) for kind in order for data in dossier.of(kind)]
    rows = []
    for what, data in found:
        try:
            who = statements.signer(Envelope.from_json(data), desk.landed.root).name
        except RejectedError:
            continue
        rows.append({"what": what, "who": who})
    return rows


def _people(dossier: Dossier, desk: Desk) -> list[str]:
    return sorted({row["who"] for row in _signatures(dossier, desk)})


def _merged_proofs(dossier: Dossier, state: State) -> list[str]:
    """Return the proofs of a merged proposal from its merge summary: what stood when it landed."""
    if state.word != "merged":
        return []
    for data in dossier.of("merge"):
        summary = Summary.from_statement(Statement.from_json(Envelope.from_json(data).payload))
        return [levels.proof(level) for level in summary.levels]
    return []
