"""`trust show`."""

from __future__ import annotations

from typing import Any

from agent_pipeline import clock
from agent_pipeline.attestation import keys, trust
from agent_pipeline.cli import desk as desks
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.cli.trust.carrying_out import described as described_version
from agent_pipeline.cli.trust.carrying_out import pending
from agent_pipeline.cli.trust.offered import waiting
from agent_pipeline.cli.trust.people import people_of, told
from agent_pipeline.errors import RejectedError
from agent_pipeline.repository.landed import Desk


@command("agent-pipeline trust show", network=True)
def show(out: Output, *, push: bool) -> None:
    """Who may do what here, with the fingerprints to compare, and what CI sets as AGENT_PIPELINE_ROOT."""
    desk = desks.here(out, push=push, expired=True)
    document = described(desk)
    if document["warning"] is not None:
        out.talk(f"warning: {document['warning']}")
    out.finish(document, lambda: _told(document))


def described(desk: Desk) -> dict[str, Any]:
    """Return the trust root as a JSON document: people, what ended, offers, the draft of the next version."""
    root = desk.landed.root
    former = [
        {
            "name": grant.owner,
            "key": keys.fingerprint(grant.key),
            "roles": list(grant.roles),
            "until": grant.until,
            "revoked": grant.revoked,
        }
        for grant in root.former
    ]
    return {
        "root": f"sha256:{desk.landed.anchor.root_digest}",
        "version": root.version,
        "expires": root.expires,
        "warning": trust.expiry_warning(root, clock.now()),
        "threshold": root.threshold,
        "repository": root.repository,
        "branch": root.branch,
        "trial": desk.landed.trial,
        "people": people_of(root),
        "former": former,
        "offers": waiting(desk),
        "draft": _draft(desk),
    }


def _draft(desk: Desk) -> dict[str, Any] | None:
    """Return the version that waits for signatures, None when there is none; what is no draft is talked about."""
    try:
        ballot = pending(desk)
    except RejectedError as error:  # anybody who may push can put something there
        desk.tell(f"no draft of the next version: {error.message}")
        return None
    if ballot is None:
        return None
    return described_version(desk, ballot.root) | {"signed": list(ballot.signers), "missing": ballot.missing}


def _told(document: dict[str, Any]) -> str:
    signers = f", signed by {document['threshold']} people" if document["threshold"] > 1 else ""
    lines = [
        f"AGENT_PIPELINE_ROOT={document['root']}",
        f"version {document['version']}, until {document['expires']}{signers}",
        f"{document['repository']} {document['branch']}",
        "",
        *told(document["people"]),
    ]
    for grant in document["former"]:
        word = "revoked" if grant["revoked"] else "ended"
        lines.append(f"{word}: {grant['name']} {', '.join(grant['roles'])}: counts below entry {grant['until']}")
        lines.append(f"{'':<16} {grant['key']}")
    lines += [f"offers: {row['name']} {row['fingerprint']}" for row in document["offers"]]
    if (draft := document["draft"]) is not None:
        lines += ["", f"draft of version {draft['version']}, {draft['digest']}"]
        lines += [
            f"  {row['what']:<12} {row['before'] or '(none)'} -> {row['after'] or '(none)'}" for row in draft["changes"]
        ]
        lines += [f"  signed by {', '.join(draft['signed'])}", f"  missing: {draft['missing'] or 'nothing'}"]
    return "\n".join(lines)
