"""`request`: words, flags and configuration become a signed request; then the pipeline runs."""

from __future__ import annotations

import re
import secrets
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from agent_pipeline import clock, pipeline
from agent_pipeline.agent.choice import engine_choice
from agent_pipeline.cli import desk as desks
from agent_pipeline.cli.detach import detach as go_on_detached
from agent_pipeline.cli.life import life
from agent_pipeline.cli.options import INTERRUPTED, YES, command
from agent_pipeline.cli.output import Output
from agent_pipeline.cli.reporting import report
from agent_pipeline.documents.request import KINDS, Request
from agent_pipeline.documents.words import counted
from agent_pipeline.errors import AgentPipelineError, PolicyError, UsageError
from agent_pipeline.policy import rules
from agent_pipeline.repository import records
from agent_pipeline.repository.dossier import REQUEST_FILE
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.refs import RefUpdate
from agent_pipeline.review.report import HERE, seen
from agent_pipeline.review.staging import Found
from agent_pipeline.sandbox.engines import choose
from agent_pipeline.signing import hand as hands
from agent_pipeline.signing.hand import Hand

TEXT_LIMIT = 65536
_AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?")  # as schemas/request.schema.json has it
TRANSCRIPT_LIMIT = 64 << 20


@command("agent-pipeline request \"parse('') raises IndexError; it should return None\"", network=True)
@click.argument("text", required=False)
@click.argument("command_line", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "-F", "file", type=click.Path(path_type=Path, allow_dash=True), help="Read the request from a file, - for stdin."
)
@click.option("--kind", type=click.Choice(KINDS), default="fix", show_default=True, help="What kind of change.")
@click.option("--base", help="The commit to start from; default: the target's tip.")
@click.option("--target", help="The branch to land on; default: the protected branch.")
@click.option("--only", multiple=True, metavar="PATTERN", help="Only these paths may change; may be given again.")
@click.option(
    "--engine",
    type=click.Choice(["claude", "command", "recorded"]),
    help="Who does the work; default: command where one follows --, recorded with --transcript, else claude.",
)
@click.option(
    "--transcript", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="For --engine recorded."
)
@click.option("--model", help="The model's id, for --engine claude; default: the first that the policy allows.")
@click.option("--prompt", metavar="NAME@VERSION", help="A frozen prompt; default: the kind's newest.")
@click.option("--max-steps", type=click.IntRange(min=1), help="At most this many turns; default: the policy's.")
@click.option("--max-seconds", type=click.IntRange(min=1), help="At most this many seconds; default: the policy's.")
@click.option("--max-usd", metavar="AMOUNT", help="At most this many US dollars; default: the policy's.")
@click.option(
    "--sandbox",
    type=click.Choice(["docker", "bubblewrap"]),
    help="What contains it; default: docker where it works and the policy allows it, else bubblewrap.",
)
@click.option("--detach", is_flag=True, help="Print the id and go on in the background.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
def request(  # noqa: PLR0913 - the contract of the command line
    out: Output,
    *,
    text: str | None,
    command_line: tuple[str, ...],
    file: Path | None,
    kind: str,
    base: str | None,
    target: str | None,
    only: tuple[str, ...],
    engine: str | None,
    transcript: Path | None,
    model: str | None,
    prompt: str | None,
    max_steps: int | None,
    max_seconds: int | None,
    max_usd: str | None,
    sandbox: str | None,
    detach: bool,
    dry_run: bool,
    push: bool,
) -> int:
    """Ask for a change; prints its id, then runs to a verified, replayed proposal."""
    words, argv = _words(text, command_line, file)
    desk = desks.here(out, push=push)
    hand = hands.need(desk.config, desk.clone, desk.landed.root, "requester")
    full = _full_name(target) if target else desk.landed.anchor.branch
    recording = _read(transcript)
    chosen = engine_choice(
        desk.landed.policy, engine, kind=kind, model=model, prompt=prompt, command=argv, recording=recording
    )
    asked = Request(
        version=1,
        nonce=secrets.token_hex(16),
        repository=desk.landed.root.repository,
        target=full,
        base=_base(desk, full, base),
        kind=kind,
        text=words,
        only=_paths(only),
        engine=chosen,
        limits=rules.narrow(desk.landed.policy, max_steps, max_seconds, _money(max_usd)),
        sandbox=choose(desk.config, desk.landed.policy.sandbox.backends, sandbox).name,
        requester=hand.person,
        created=clock.rfc3339(clock.now()),
        trial=desk.landed.trial,
    )
    reasons = rules.check_request(desk.landed.policy, asked)
    if reasons:
        raise PolicyError(
            "; ".join(reasons), hint="`agent-pipeline policy check` names the file; the operator may change it"
        )
    pipeline.check(desk, asked, recording)
    _notes(desk, asked, out)
    if dry_run:
        out.finish({"id": asked.id, "dry_run": True, "request": asked.to_dict()}, lambda: _would_ask(asked))
        return YES
    _record(desk, hand, asked)
    out.talk(f"request {asked.id}")
    if detach and go_on_detached(desk.config, asked.id):
        out.finish({"id": asked.id, "state": "requested"}, lambda: asked.id)
        return YES
    if not sys.stdout.isatty():  # on a terminal it stands one line above
        out.line(asked.id)
    try:
        found = run_to_proposal(out, desk, asked, recording, push=push)
    except AgentPipelineError as error:
        out.error(error, about=_came_to(out, asked, push=push))
        return error.exit_code
    except KeyboardInterrupt:
        out.interrupted(about={"id": asked.id})
        return INTERRUPTED
    document = report(desks.here(out, push=push), asked.id, clock.now())
    if document["seen_by"] is None:  # CI will look for itself; this is what it will see
        document |= {"checks": seen(found.replay.checks if found.replay else found.checks, HERE), "seen_by": HERE}
    out.finish(document, lambda: life(document))
    return YES


def run_to_proposal(out: Output, desk: Desk, asked: Request, recording: bytes | None, *, push: bool) -> Found:
    """Propose, then admit when this person may, else preview what CI will see."""
    dossier = pipeline.propose(desk, asked, recording)
    files = counted(len(dossier.proposal.changes), "file")
    out.talk(f"proposal {dossier.name}: {files}, tree {dossier.proposal.tree[:12]}")
    if asked.trial:
        out.talk("on trial: the rules have not landed yet, so this cannot land either")
    desk = desks.here(out, push=push)
    found = pipeline.admit_or_preview(desk, dossier)
    found.require_passed(dossier.name)
    return found


def _would_ask(asked: Request) -> str:
    """Return what would be asked, for people."""
    engine, limits = asked.engine, asked.limits
    details = [text for text in (engine.model, engine.prompt) if text]
    if engine.command is not None:
        details.append(shlex.join(engine.command))
    lines = {
        "kind": asked.kind,
        "base": asked.base,
        "target": asked.target.removeprefix("refs/heads/"),
        "engine": f"{engine.name}{': ' if details else ''}{', '.join(details)}",
        "only": ", ".join(asked.only) or "whatever the policy lets an agent change",
        "limits": f"{counted(limits.steps, 'step')}, {limits.seconds} s, {limits.usd} USD",
        "sandbox": asked.sandbox,
    }
    rows = [f"  {name:<8} {' '.join(value.split())}" for name, value in lines.items()]
    return "\n".join([f"would ask {asked.id}", *rows, "nothing was changed"])


def _came_to(out: Output, asked: Request, *, push: bool) -> dict[str, Any]:
    """Return what there is to say of a request that failed; its id alone when that cannot be read any more."""
    try:
        return report(desks.here(out, push=push), asked.id, clock.now())
    except (AgentPipelineError, OSError):  # the first error is the one that people must see
        return {"id": asked.id}


def _words(text: str | None, command_line: tuple[str, ...], file: Path | None) -> tuple[str, tuple[str, ...]]:
    """Return the request's text and the command engine's argv. Raises `UsageError` for an empty request."""
    if file is not None:
        # With -F, everything that click took for TEXT belongs to the command.
        command_line = (text, *command_line) if text is not None else command_line
        text = _read_words(file)
    if command_line and "--" not in sys.argv:
        raise UsageError("the request is several words", hint='quote it: agent-pipeline request "..."')
    if text is None or not text.strip():
        raise UsageError("the request is empty", hint='say what is wrong: agent-pipeline request "..."')
    if len(text) > TEXT_LIMIT:
        raise _too_long()
    return text.strip(), command_line


def _read_words(file: Path) -> str:
    """Return the text of `file`, of stdin for `-`. Raises `UsageError` when it is not readable text."""
    at_most = 4 * TEXT_LIMIT
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as stream:
            data = stream.read(at_most + 1)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}", hint="name a file with your request") from error
    if len(data) > at_most:
        raise _too_long()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is no UTF-8 text", hint="write the request as UTF-8") from error


def _too_long() -> UsageError:
    return UsageError(
        f"the request is longer than {TEXT_LIMIT} characters", hint="put the material into the repository"
    )


def _money(text: str | None) -> str | None:
    """Return an amount as a request carries it. Raises `UsageError` for anything else."""
    if text is not None and _AMOUNT.fullmatch(text) is None:
        raise UsageError(f"--max-usd {text!r} is no amount of money", hint="write it as 5 or 0.50")
    return text


def _paths(only: tuple[str, ...]) -> tuple[str, ...]:
    """Return the patterns of --only. Raises `UsageError` for one that no path of a repository matches."""
    try:
        rules.matches(only, "x")
    except PolicyError as error:
        raise UsageError(f"--only: {error.message}", hint=error.hint) from error
    for pattern in only:
        if not pattern.strip("/ ") or ".." in pattern.split("/"):
            raise UsageError(
                f"--only {pattern!r} matches nothing", hint="name paths of the repository, as in a gitignore file"
            )
    return only


def _full_name(branch: str) -> str:
    return branch if branch.startswith("refs/heads/") else f"refs/heads/{branch}"


def _base(desk: Desk, target: str, base: str | None) -> str:
    """Return the commit to start from. Raises `UsageError` when it does not exist."""
    if base is not None:
        return desk.clone.commit(base)
    tip = desk.tip(target)
    if tip is None:
        raise UsageError(f"there is no branch {target}", hint="name one that exists with --target")
    return tip


def _read(transcript: Path | None) -> bytes | None:
    if transcript is None:
        return None
    if transcript.stat().st_size > TRANSCRIPT_LIMIT:
        raise UsageError(f"{transcript} is larger than {TRANSCRIPT_LIMIT} bytes", hint="give a run's transcript.jsonl")
    return transcript.read_bytes()


def _notes(desk: Desk, asked: Request, out: Output) -> None:
    dirty = desk.clone.dirty() if desk.clone.worktree is not None else ()
    if dirty:
        out.talk(f"note: uncommitted changes are left out: {', '.join(dirty[:5])}{' …' if len(dirty) > 5 else ''}")  # noqa: PLR2004
    modules = desk.clone.submodules(desk.clone.tree(asked.base))
    if modules:
        out.talk(f"note: submodules are empty in the sandbox: {', '.join(modules)}")


def _record(desk: Desk, hand: Hand, asked: Request) -> None:
    """Sign the request and make its record, before anything runs."""
    envelope = hand.signer.statement(asked.to_statement()).to_json()
    commit = records.extend(desk.clone, None, asked.id, {REQUEST_FILE: envelope})
    update = RefUpdate(records.REQUESTS + asked.id, None, commit)
    records.publish(desk.clone, [update], remote=desk.remote)
