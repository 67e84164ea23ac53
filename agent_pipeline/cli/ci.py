"""`ci run|replay|stage|merge`."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from agent_pipeline import clock, pipeline
from agent_pipeline.audit import endings, entries, high_water
from agent_pipeline.cli import desk as desks
from agent_pipeline.cli.groups import group
from agent_pipeline.cli.options import COULD_NOT_TELL, NO, YES, command
from agent_pipeline.cli.output import Output, in_one_line
from agent_pipeline.documents.replay_result import ReplayResult
from agent_pipeline.documents.verification import FAILED, PASSED, UNKNOWN, Check, Verification
from agent_pipeline.errors import AgentPipelineError, RejectedError, SchemaError, StorageError, UsageError
from agent_pipeline.files import written_whole
from agent_pipeline.repository import records
from agent_pipeline.repository.dossier import open_dossier
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.records import Record
from agent_pipeline.review import marks
from agent_pipeline.review.report import went_wrong
from agent_pipeline.review.staging import Found
from agent_pipeline.review.state import state_of
from agent_pipeline.signing import hand as hands

RESULTS_LIMIT = 16 << 20


def _named(desk: Desk, names: tuple[str, ...], verb: str) -> list[tuple[str, str]]:
    """Return the id of each named request, with its name. Raises `UsageError` for one that nothing is done about."""
    return [(desks.find_newest(desk, name, verb).id, name) for name in names]


def _waiting(desk: Desk, states: tuple[str, ...], troubles: dict[str, str]) -> list[tuple[str, str]]:
    """Return the requests in one of `states`; those of which nobody can tell go to `troubles`, with the reason."""
    log = high_water.open_log(desk)
    found = []
    for record in records.all_records(desk.clone, desk.remote):
        about = desks.logged(desk, record.id, log).entries
        try:
            word = state_of(record, about, desk.landed.root).word
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one record, the others do not wait for it
            desk.tell(f"{record.id}: left alone: {_why(error)}")
            troubles.setdefault(record.id, f"its record cannot be read: {_why(error)}")
            continue
        found += [(record.id, record.id)] if word in states else []
    return found


def _note_what_was_taken_back(desk: Desk, role: str, only: set[str] | None) -> dict[str, str]:
    """Put rejections and closures into the log, where nobody who may push can take them back again.

    Returns the requests of which that failed, with the reason: nothing may be done with them before it is mended. With
    `only`, what cannot even be looked through is told of these alone; what was found and not logged, of every request.
    """
    hand = hands.need(desk.config, desk.clone, desk.landed.root, role)
    entries.again(desk, lambda: _note_endings(desk, hand))
    log = high_water.open_log(desk)
    troubles = {}
    for record in records.all_records(desk.clone, desk.remote):
        about = desks.logged(desk, record.id, log).entries
        try:
            found = marks.unlogged(record, about, desk.landed.root)
        except SchemaError:
            continue  # no step of it can be read; what is wrong with it is said when its turn comes
        except Exception as error:  # noqa: BLE001 - as in `_waiting`
            desk.tell(f"{record.id}: not looked through: {_why(error)}")
            if only is None or record.id in only:
                troubles[record.id] = f"its record cannot be looked through: {_why(error)}"
            continue
        if not found:
            continue
        try:
            entries.again(desk, functools.partial(_note, desk, hand, record))
        except Exception as error:  # noqa: BLE001 - as in `_waiting`
            words = " and ".join(sorted({mark.event for mark in found}))
            troubles[record.id] = f"it was {words}, which could not be put into the log: {_why(error)}"
            desk.tell(f"{record.id}: {troubles[record.id]}")
    return troubles


def _note_endings(desk: Desk, hand: hands.Hand) -> None:
    """Log the ends of keys that the trust root has: those of versions that landed by a pull request."""
    logged = [signed.entry for signed in high_water.open_log(desk).about_everything(desk.landed.root)]
    for ending in endings.unlogged(desk.landed.root, logged):
        marks.note_ending(desk, hand, ending, clock.now())
        desk.tell(f"log: keys of {', '.join(ending.names)} {ending.event}")


def _note(desk: Desk, hand: hands.Hand, record: Record) -> None:
    """Log what was taken back in the record as it was seen, even if it is not there any more."""
    marks.note_all(desk, hand, marks.unlogged(record, desks.logged(desk, record.id).entries, desk.landed.root))


def _why(error: Exception) -> str:
    return error.message if isinstance(error, AgentPipelineError) else f"{type(error).__name__}: {error}"[:400]


def _code(verdicts: list[str]) -> int:
    """Return the exit code: any no is a no, else anything that could not be told, else yes."""
    if FAILED in verdicts:
        return NO
    return COULD_NOT_TELL if UNKNOWN in verdicts else YES


@command("agent-pipeline ci run", network=True)
@click.argument("names", metavar="[ID...]", nargs=-1)
def run(out: Output, names: tuple[str, ...], *, push: bool) -> int:
    """Verify, replay, sign and stage; without ID all that wait. Doing it again changes nothing."""
    desk = desks.here(out, push=push)
    hands.need(desk.config, desk.clone, desk.landed.root, "ci")
    asked = _named(desk, names, "ci run")
    troubles = _note_what_was_taken_back(desk, "ci", {request for request, _ in asked} if names else None)
    asked = asked if names else _waiting(desk, ("proposed",), troubles)
    results = [_row(request, UNKNOWN, why) for request, why in troubles.items()]
    for request, name in asked:
        if request not in troubles:
            results.append(_result(request, functools.partial(_admitted, desk, name, "ci run", None)))
            desk = desks.here(out, push=push)
    out.finish({"results": results}, lambda: "\n".join(_line(row) for row in results) or "nothing waits")
    return _code([row["verdict"] for row in results])


def _admitted(desk: Desk, name: str, verb: str, result: ReplayResult | None, *, replays: bool = True) -> Found:
    """Admit a request, or say that CI has decided it already, or that nobody may decide it."""
    record = desks.find_newest(desk, name, verb)
    request = record.id
    word = desks.state(desk, record).word
    if word not in ("staged", "merged", "rejected", "closed", "trial"):
        return pipeline.admit(desk, request, result, replays=replays)
    outcome = PASSED if word in ("staged", "merged") else FAILED
    check = Check("ci", outcome, f"it is {word}: there is nothing to do")
    return Found(Verification(1, request, request, "", outcome, (check,), ()), None)


def _result(request: str, work: Callable[[], Found]) -> dict[str, Any]:
    """Return one row of results; an error about one request does not keep the others waiting."""
    try:
        found = work()
    except Exception as error:  # noqa: BLE001 - a defect of ours that one record brings up keeps no other waiting
        word = FAILED if isinstance(error, RejectedError) else UNKNOWN
        return _row(request, word, _why(error))
    checks = [{"name": c.name, "outcome": c.outcome, "reason": c.reason} for c in found.checks]
    return {"id": request, "verdict": found.verdict, "proofs": list(found.proofs), "checks": checks}


def _row(request: str, verdict: str, why: str) -> dict[str, Any]:
    check = {"name": "ci", "outcome": verdict, "reason": why}
    return {"id": request, "verdict": verdict, "proofs": [], "checks": [check]}


def _line(row: dict[str, Any]) -> str:
    lines = [f"{row['id']}  {row['verdict']}  {' · '.join(row['proofs'])}"]
    lines += [f"    {c['outcome']}: {c['name']}: {c['reason']}" for c in row["checks"] if c["outcome"] != PASSED]
    return "\n".join(map(in_one_line, lines))


@command("agent-pipeline ci replay k3v --out results.json", network=True)
@click.argument("name", metavar="ID")
@click.option(
    "--out", "file", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Where to write it."
)
def replay(out: Output, name: str, file: Path, *, push: bool) -> int:
    """The first of two jobs: verify and replay. Needs no key and no right to write."""
    if not os.access(file.absolute().parent, os.W_OK):
        raise UsageError(f"{file} cannot be written", hint="give --out a file in a directory that is there")
    desk = desks.here(out, push=push)
    record, number = desks.find_record(desk, name)
    found = pipeline.examine(desk, open_dossier(record, number))
    row = _result(record.id, lambda: found)
    if found.replay is not None:
        _write(file, found.replay.to_json())
    out.finish(row, lambda: _line(row))
    return _code([row["verdict"]])


def _write(file: Path, data: bytes) -> None:
    """Write whole or not at all. Raises `StorageError`."""
    try:
        with written_whole(file) as stream:
            stream.write(data + b"\n")
    except OSError as error:
        raise StorageError(
            f"{file} cannot be written: {error.strerror}", hint="make room or choose another place, then try again"
        ) from error


@command("agent-pipeline ci stage k3v --results results.json", network=True)
@click.argument("name", metavar="ID")
@click.option("--results", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="What `ci replay` wrote.")
def stage(out: Output, name: str, results: Path | None, *, push: bool) -> int:
    """The second of two jobs: verify again, sign what the first one found, and stage. Runs no foreign code.

    Without results only a proposal that does not verify can be decided: it was not replayed, and is rejected.
    """
    desk = desks.here(out, push=push)
    hands.need(desk.config, desk.clone, desk.landed.root, "ci")
    result = None if results is None else _read(results)
    record = desks.find_newest(desk, name, "ci stage")
    row = _result(record.id, functools.partial(_admitted, desk, name, "ci stage", result, replays=False))
    out.finish({"results": [row]}, lambda: _line(row))
    return _code([row["verdict"]])


def _read(results: Path) -> ReplayResult:
    if results.stat().st_size > RESULTS_LIMIT:
        raise UsageError(f"{results} is larger than {RESULTS_LIMIT} bytes", hint="give the file that `ci replay` wrote")
    try:
        return ReplayResult.from_json(results.read_bytes(), max_bytes=RESULTS_LIMIT)
    except SchemaError as error:
        raise UsageError(f"{results}: {error.message}", hint="give the file that `ci replay` wrote") from error


@command("agent-pipeline ci merge", network=True)
@click.argument("names", metavar="[ID...]", nargs=-1)
def merge(out: Output, names: tuple[str, ...], *, push: bool) -> int:
    """Verify all of it again and merge; without ID all that are staged."""
    desk = desks.here(out, push=push)
    hands.need(desk.config, desk.clone, desk.landed.root, "merger")
    asked = _named(desk, names, "ci merge")
    troubles = _note_what_was_taken_back(desk, "merger", {request for request, _ in asked})
    asked = asked if names else _waiting(desk, ("staged",), {})  # what cannot be read, `ci run` has named
    results = [_unmerged(request) | {"reason": why} for request, why in troubles.items()]
    codes = [COULD_NOT_TELL for _ in troubles]
    for request, name in asked:
        if request not in troubles:
            row, code = _merged(desk, request, name)
            results.append(row)
            codes.append(code)
            desk = desks.here(out, push=push)
    out.finish({"results": results}, lambda: "\n".join(_merge_line(row) for row in results) or "nothing is staged")
    waiting = not names  # without ID, what waits for a person is no failure of this run
    return max(
        (code for code, row in zip(codes, results, strict=True) if not (waiting and row["waiting"])), default=YES
    )


def _unmerged(request: str) -> dict[str, Any]:
    return {"id": request, "merged": False, "target": None, "old": None, "new": None, "waiting": False}


def _merged(desk: Desk, request: str, name: str) -> tuple[dict[str, Any], int]:
    row = _unmerged(request)
    try:
        desks.find_newest(desk, name, "ci merge")  # again: others may have proposed since the run began
        decision, merged = pipeline.land(desk, request, clock.now())
    except AgentPipelineError as error:
        return row | {"reason": error.message}, error.exit_code
    except Exception as error:  # noqa: BLE001 - as in `_result`
        return row | {"reason": _why(error)}, COULD_NOT_TELL
    if merged is None:
        missing = "; ".join(check.reason for check in decision.checks if check.outcome in (FAILED, UNKNOWN))
        waiting = not went_wrong(decision, newest=True)
        return row | {"reason": missing, "waiting": waiting}, NO if decision.verdict == FAILED else COULD_NOT_TELL
    done = {"merged": True, "target": merged.target, "old": merged.old, "new": merged.new, "reason": "all proofs hold"}
    return row | done, YES


def _merge_line(row: dict[str, Any]) -> str:
    if row["merged"]:
        return f"{row['id']}  merged as {row['new'][:12]}"
    return in_one_line(f"{row['id']}  not merged: {row['reason']}")


ci = group(
    "ci",
    "What CI does. It trusts nothing that it did not verify.",
    {
        "run": ("ci:run", "Verify, replay, sign, stage; without ID all that wait."),
        "replay": ("ci:replay", "First of two jobs: verify and replay, without a key."),
        "stage": ("ci:stage", "Second of two jobs: verify again, sign, stage."),
        "merge": ("ci:merge", "Verify all again, merge what is approved."),
    },
    "agent-pipeline ci run",
)
