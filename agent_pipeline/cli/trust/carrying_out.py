"""What every change of the trust root comes to: shown, asked about, signed, and landed or kept as a draft."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from agent_pipeline import clock
from agent_pipeline.attestation import ballots
from agent_pipeline.attestation.ballots import Ballot
from agent_pipeline.attestation.changes import differences
from agent_pipeline.audit import high_water
from agent_pipeline.cli.output import Output
from agent_pipeline.cli.trust.asking import ask
from agent_pipeline.documents.root import TrustRoot, first_digest
from agent_pipeline.errors import RejectedError
from agent_pipeline.merge import roots
from agent_pipeline.repository import records, root_draft
from agent_pipeline.repository.landed import Desk
from agent_pipeline.signing import versions

ROOT_DAYS: Final = 365
LIFE: Final = timedelta(days=ROOT_DAYS)


@dataclass(frozen=True, slots=True)
class Change:
    """A version to come, what it is for in a sentence, and what the command itself has to say about it."""

    root: TrustRoot
    said: str
    document: dict[str, Any] = field(default_factory=dict)


def next_index(desk: Desk) -> int:
    """Return the index that the log's next entry will have."""
    return high_water.open_log(desk).next_index


def pending(desk: Desk) -> Ballot | None:
    """Return the draft of the next version that waits for signatures, None when there is none that anybody signed."""
    return ballots.read(desk.landed.root, root_draft.read(desk.clone, desk.remote))


def carry_out(out: Output, desk: Desk, change: Change, *, dry_run: bool = False) -> None:
    """Show `change`, ask about it on a terminal, sign it, and land it or keep it until others have signed.

    Raises `RejectedError` while another draft waits: two next versions cannot both come.
    """
    waiting = pending(desk)
    if waiting is not None and not dry_run:
        raise RejectedError(
            f"version {waiting.root.version} of the trust root is drafted already, signed by "
            f"{', '.join(waiting.signers)}",
            hint="`agent-pipeline trust show` shows it; sign it with `agent-pipeline trust sign`, or take it away with "
            "`agent-pipeline trust sign --discard`",
        )
    tell(out, desk, change.root)
    document = change.document | described(desk, change.root)
    if dry_run:
        out.finish(document | {"dry_run": True}, lambda: "nothing was changed")
        return
    ask(out, "Do it?")
    finish(out, desk, versions.sign(desk.config, ballots.start(desk.landed.root, change.root)), change.said, document)


def described(desk: Desk, root: TrustRoot) -> dict[str, Any]:
    """Return a version to come as JSON: what it changes, and the digest by which signers compare it."""
    rows = differences(desk.landed.root, root)
    return {
        "version": root.version,
        "digest": f"sha256:{first_digest(root.to_json())}",
        "changes": [{"what": row.what, "before": row.before, "after": row.after} for row in rows],
    }


def tell(out: Output, desk: Desk, root: TrustRoot) -> None:
    """Say what a version to come changes."""
    for row in differences(desk.landed.root, root):
        out.talk(f"{row.what:<12} {row.before or '(none)'} -> {row.after or '(none)'}")


def finish(out: Output, desk: Desk, ballot: Ballot, said: str, document: dict[str, Any]) -> None:
    """Land a version that needs nobody else, or keep it as a draft; say which."""
    if not ballot.complete:
        _keep(out, desk, ballot, said, document)
        return
    hand = versions.finisher(desk.config, desk.clone, ballot)
    message = f"{said}\n\nVersion {ballot.root.version} of the trust root.\n"
    placed = roots.land(desk, ballot, hand, message, clock.now())
    here = placed.branch != roots.BRANCH
    found = document | {"landed": here, "branch": placed.branch, "commit": placed.commit, "logged": placed.logged}
    told = f"{said} (version {ballot.root.version} of the trust root)"
    if not here:
        told += (
            f"\n{desk.landed.anchor.branch} takes no push: it is on {placed.branch.removeprefix('refs/heads/')}; "
            "make a pull request of it, and do not squash it\nuntil that is merged, the version before it is in force"
        )
    out.finish(found, lambda: told)


def _keep(out: Output, desk: Desk, ballot: Ballot, said: str, document: dict[str, Any]) -> None:
    update = root_draft.write(desk.clone, desk.remote, ballot.root.version, ballot.envelopes.values(), clock.now())
    records.publish(desk.clone, [update], remote=desk.remote)
    found = document | {"landed": False, "signed": list(ballot.signers), "missing": ballot.missing}
    lines = [
        f"drafted: {said} (version {ballot.root.version} of the trust root), signed by {', '.join(ballot.signers)}",
        f"missing: {ballot.missing}",
        f"next:    they compare {document['digest']} with you, then: agent-pipeline trust sign",
    ]
    out.finish(found, lambda: "\n".join(lines))
