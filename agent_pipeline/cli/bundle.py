"""`bundle export|import|verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from agent_pipeline import clock
from agent_pipeline import config as configuration
from agent_pipeline.bundle import files, pinning
from agent_pipeline.bundle.exporting import export as export_bundle
from agent_pipeline.bundle.importing import take
from agent_pipeline.bundle.opening import opened
from agent_pipeline.bundle.verifying import Proven, prove
from agent_pipeline.cli import desk as desks
from agent_pipeline.cli import life
from agent_pipeline.cli.groups import group
from agent_pipeline.cli.options import COULD_NOT_TELL, NO, YES, command
from agent_pipeline.cli.output import Output
from agent_pipeline.documents import strict
from agent_pipeline.documents.verification import FAILED, PASSED, SKIPPED, UNKNOWN
from agent_pipeline.review.report import CI, HERE, asserted, seen

_CODES = {PASSED: YES, FAILED: NO, UNKNOWN: COULD_NOT_TELL}
_MARKS = {PASSED: "ok", FAILED: "NO", SKIPPED: "--", UNKNOWN: "??"}


@command("agent-pipeline bundle export k3v k3v.1.agentpatch", network=True)
@click.argument("name", metavar="ID")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
def export(out: Output, name: str, file: Path, *, force: bool, push: bool) -> None:
    """Write a proposal to one file, with everything that proves it.

    The file holds the request's whole record, the rules in force, what the log says, and of the repository only the
    changed files' new contents and the directories they are in (names and object ids). ID.n means one proposal, ID the
    merged or newest one.
    """
    desk = desks.here(out, push=push)
    manifest, data = export_bundle(desk, name)
    files.write(file, data, force=force)
    kinds: dict[str, int] = {}
    for content in manifest.contents:
        kind = content.name.partition("/")[0]
        kinds[kind] = kinds.get(kind, 0) + 1
    digest = strict.sha256(data)
    document: dict[str, Any] = {"id": manifest.request, "proposal": manifest.proposal, "file": str(file)}
    document |= {"sha256": digest, "bytes": len(data), "contents": kinds}
    held = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    lines = [f"{manifest.proposal}  sha256:{digest}  {file}", f"{len(data)} bytes: {held}"]
    out.finish(document, lambda: "\n".join(lines))


@command("agent-pipeline bundle verify k3v.1.agentpatch --root sha256:...")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--root", metavar="DIGEST", help="The first trust root's digest, from somebody who knows the repository.")
def verify(out: Output, file: Path, *, root: str | None) -> int:
    """Say what a bundle proves. Needs no repository, network or sandbox, but a pinned trust root.

    Without --root, AGENT_PIPELINE_ROOT or your own pins say which one. All is said as of the bundle's newest log entry:
    what nobody can tell offline is skipped, with the reason.
    """
    with opened(files.read(file)) as one:
        pin, anchor = pinning.find(one, root, configuration.load())
        proven = prove(one, pin, anchor, clock.now())
    document = _document(proven) | {"file": str(file), "sha256": one.bundle.sha256}
    out.finish(document, lambda: _told(document))
    return _CODES[proven.decision.verdict]


@command("agent-pipeline bundle import k3v.1.agentpatch", network=True)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def import_(out: Output, file: Path, *, push: bool) -> None:
    """Take a bundle's record into this repository, once it verifies under this repository's pin; CI then runs as usual.

    Nothing moves but the request's own record, and that only forward. A record that is here already stays.
    """
    desk = desks.here(out, push=push)
    with opened(files.read(file)) as one:
        done = take(desk, one, clock.now())
    document = _document(done.proven) | {"file": str(file), "sha256": one.bundle.sha256}
    document |= {"imported": done.old != done.new, "old": done.old, "new": done.new}
    words = "imported" if done.old != done.new else "was here already"
    then = f"next: agent-pipeline show {document['id']}"
    out.finish(document, lambda: f"{document['proposal']}  {words}  sha256:{document['sha256']}\n{then}")


def _document(proven: Proven) -> dict[str, Any]:
    dossier, inputs, vouched = proven.dossier, proven.inputs, proven.vouched
    replayed = vouched.replay.checks if vouched.replay is not None else ()
    return asserted(dossier, vouched.replay) | {
        "id": dossier.record.id,
        "state": proven.state,
        "verdict": proven.decision.verdict,
        "repository": proven.root.repository,
        "branch": proven.anchor.branch,
        "root": f"sha256:{proven.anchor.root_digest}",
        "root_version": proven.root.version,
        "policy": strict.sha256(inputs.policy_bytes),
        "log_entries": proven.log_size,
        "base": dossier.proposal.base,
        "proofs": list(proven.decision.proofs),
        "persons": len(vouched.people),
        "people": list(vouched.people),
        "signatures": [{"what": what, "who": who} for what, who in vouched.signatures],
        "checks": seen(replayed, CI) + seen(proven.decision.checks, HERE),
    }


def _told(document: dict[str, Any]) -> str:
    entries, here = document["log_entries"], [check for check in document["checks"] if check["seen_by"] == HERE]
    signed = ", ".join(f"{one['who']} ({one['what']})" for one in document["signatures"])
    as_of = f"entry {entries - 1} of the log" if entries else "an empty log"
    lines = [
        f"{document['proposal']}  {document['state']}  {document['verdict']}",
        f"repository  {document['repository']}, {document['branch']}",
        f"pinned      {document['root']}",
        f"as of       {as_of}, version {document['root_version']} of the trust root",
        f"tree        {document['tree']} on {document['base']}",
        *(f"  {path}" for path in document["paths"]),
        *life.asserted(document),
        *life.seen(document, CI, "seen by CI"),
        "",
        "verified here",
        *(f"  {_MARKS[check['outcome']]} {check['name']}: {check['reason']}" for check in here),
        "",
        f"signed by   {signed or 'nobody here'}",
        f"proofs      {' · '.join(document['proofs']) or 'none'}",
    ]
    return "\n".join(lines)


bundle = group(
    "bundle",
    "A proposal as one file, verifiable offline.",
    {
        "export": ("bundle:export", "Write a proposal to one file."),
        "import": ("bundle:import_", "Take a bundle's record into this repository."),
        "verify": ("bundle:verify", "Say what a bundle proves, offline."),
    },
    "agent-pipeline bundle verify k3v.1.agentpatch",
)
