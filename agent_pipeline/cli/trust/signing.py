"""`trust sign`: the draft that waits, or a renewal."""

from __future__ import annotations

from typing import Any

import click

from agent_pipeline import clock
from agent_pipeline.attestation import drafts
from agent_pipeline.cli import desk as desks
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.cli.trust.asking import ask
from agent_pipeline.cli.trust.carrying_out import LIFE, Change, carry_out, described, finish, pending, tell
from agent_pipeline.errors import RejectedError, SignatureError, UsageError
from agent_pipeline.repository import records, root_draft
from agent_pipeline.repository.landed import Desk
from agent_pipeline.signing import hand as hands
from agent_pipeline.signing import versions


@command("agent-pipeline trust sign", network=True)
@click.option(
    "--root", "digest", metavar="SHA256:...", help="Sign only the draft with this digest, which you compared."
)
@click.option("--renew", is_flag=True, help="Draft the next version yourself: the same for another year.")
@click.option("--threshold", type=click.IntRange(min=1), help="With --renew: how many people sign from then on.")
@click.option("--discard", is_flag=True, help="Take the draft away instead.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
def sign(  # noqa: PLR0913 - its options
    out: Output,
    digest: str | None,
    renew: bool,  # noqa: FBT001 - click's
    threshold: int | None,
    discard: bool,  # noqa: FBT001 - click's
    dry_run: bool,  # noqa: FBT001 - click's
    *,
    push: bool,
) -> None:
    """Sign the version of the trust root that waits for signatures; the last one lands it."""
    _check_one(digest, renew=renew, threshold=threshold, discard=discard)
    desk = desks.here(out, push=push, expired=True)
    if discard:
        _discard(out, desk, dry_run=dry_run)
    elif renew:
        root = drafts.renew(desk.landed.root, expires=clock.now() + LIFE, threshold=threshold)
        said = "Renew the trust root" + (f", signed by {threshold} from now on" if threshold is not None else "")
        carry_out(out, desk, Change(root, said), dry_run=dry_run)
    else:
        _sign(out, desk, digest, dry_run=dry_run)


def _check_one(digest: str | None, *, renew: bool, threshold: int | None, discard: bool) -> None:
    """Raise `UsageError` for options of which one would be passed over."""
    if discard and (renew or digest is not None):
        other = "--renew" if renew else "--root"
        raise UsageError(
            f"--discard takes the draft away, and {other} signs one",
            hint="give one of them; `agent-pipeline trust sign --discard --dry-run` shows what would go",
        )
    if renew and digest is not None:
        raise UsageError(
            "--root names a draft that waits, and --renew makes a new one",
            hint="give one of them; --dry-run shows what would be signed",
        )
    if threshold is not None and not renew:
        raise UsageError("a threshold is changed in a new version", hint="add --renew")


def _sign(out: Output, desk: Desk, digest: str | None, *, dry_run: bool) -> None:
    ballot = pending(desk)
    if ballot is None:
        raise UsageError(
            "no version of the trust root waits for a signature",
            hint="`agent-pipeline trust sign --renew` makes one that is valid for another year",
        )
    document = described(desk, ballot.root) | {"signed": list(ballot.signers)}
    if digest is not None and digest != document["digest"]:
        raise SignatureError(
            f"the draft is {document['digest']}, but you compared {digest}",
            hint="somebody drafted another one since: compare again with who asked you to sign",
        )
    out.talk(f"signed so far by {', '.join(ballot.signers)}: {document['digest']}")
    tell(out, desk, ballot.root)
    if dry_run:
        out.finish(document | {"dry_run": True}, lambda: "nothing was changed")
        return
    note = "nobody compared the digest; --root signs only the draft that was compared" if digest is None else None
    ask(out, "Sign it?", note)
    signed = versions.sign(desk.config, ballot)
    finish(out, desk, signed, f"Version {ballot.root.version}, drafted by {', '.join(ballot.signers)}", document)


def _discard(out: Output, desk: Desk, *, dry_run: bool) -> None:
    hands.need(desk.config, desk.clone, desk.landed.root, "root")
    update = root_draft.discard(desk.clone, desk.remote)
    if update is None:
        raise UsageError("there is no draft of the trust root", hint="`agent-pipeline trust show`")
    document = _shown(out, desk)
    if dry_run:
        out.finish(document | {"discarded": False, "dry_run": True}, lambda: "nothing was changed")
        return
    ask(out, "Take the draft away?")
    records.publish(desk.clone, [update], remote=desk.remote)
    out.finish(document | {"discarded": True}, lambda: "the draft is gone; the trust root is as it was")


def _shown(out: Output, desk: Desk) -> dict[str, Any]:
    """Show the draft that would be taken away, and return it as JSON; empty for what is no draft."""
    try:
        ballot = pending(desk)
    except RejectedError as error:  # anybody who may push can put something there
        out.talk(f"what stands there is no draft of the next version: {error.message}")
        return {}
    if ballot is None:
        out.talk("what stands there is no draft that anybody signed")
        return {}
    document = described(desk, ballot.root) | {"signed": list(ballot.signers)}
    out.talk(f"signed so far by {', '.join(ballot.signers)}: {document['digest']}")
    tell(out, desk, ballot.root)
    return document
