"""`trust pin`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from agent_pipeline import clock
from agent_pipeline import config as configuration
from agent_pipeline.attestation import trust
from agent_pipeline.cli import desk as desks
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.cli.trust.asking import ask
from agent_pipeline.cli.trust.people import people_of, told
from agent_pipeline.documents.anchor import Anchor
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.errors import RejectedError, UsageError
from agent_pipeline.repository import anchor as anchors
from agent_pipeline.repository import landed, remotes
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.trust_files import first_root_branches

_WHY: Final = (
    "either this is another repository, or somebody rewrote the first trust root: ask somebody who knows the digest, "
    "by another way than the repository"
)


@command("agent-pipeline trust pin", network=True)
@click.argument("digest", required=False)
def pin(out: Output, digest: str | None, *, push: bool) -> None:
    """Pin this repository's first trust root, outside the repository; compare DIGEST with somebody who knows it."""
    clone, config = Clone.discover(Path.cwd()), configuration.load()
    remote = clone.remote()
    if remote is not None and push:
        remotes.fetch(clone, remote)
    url = anchors.url_of(clone, remote)
    before = anchors.load_pins(config).find(url)
    branch, value = _chosen(sorted(set(first_root_branches(clone, remote))), digest, before)
    anchor = Anchor(url, branch, value)
    if before is not None and before != anchor and digest is None:
        raise RejectedError(
            f"{url} is pinned to sha256:{before.root_digest} on {before.branch}, and now offers sha256:{value} on "
            f"{branch}",
            hint=f"{_WHY}; give the new digest to pin it all the same",
        )
    rules = landed.load(clone, remote, anchor, clock.now())  # what cannot be loaded is not pinned
    desks.check_address(clone, rules)
    first = trust.parse(Envelope.from_json(rules.root_versions[0][0]).payload)
    _tell(out, first, anchor, before, rules.root.version)
    if before is None and digest is None:
        ask(out, "Pin it?", "nobody compared that; `agent-pipeline trust pin sha256:...` pins only what was compared")
    anchors.save_pin(config, anchor)
    document = {"url": url, "branch": branch, "root": f"sha256:{value}", "people": people_of(first)}
    out.finish(document, lambda: f"pinned {url}\n  branch {branch}\n  root   sha256:{value}")


def _chosen(found: list[tuple[str, str]], digest: str | None, before: Anchor | None) -> tuple[str, str]:
    """Return branch and digest of the first trust root that is meant. Raises `UsageError` unless there is one."""
    pinned = f"; sha256:{before.root_digest} is pinned" if before is not None else ""
    if not found:
        hint = "set the repository up with `agent-pipeline init`" if before is None else _WHY
        raise UsageError(f"no branch here carries a first trust root{pinned}", hint=hint)
    offered = ", ".join(f"sha256:{value}" for _, value in found)
    wanted = digest.removeprefix("sha256:") if digest is not None else None
    matching = [(branch, value) for branch, value in found if wanted in (None, value)]
    if not matching:
        raise UsageError(
            f"you compared {digest}, but what stands here is {offered}{pinned}",
            hint=f"nothing was pinned. {_WHY}",
        )
    if len(matching) > 1:
        raise UsageError(
            f"several first trust roots are offered: {offered}{pinned}",
            hint="give the digest that you compared: agent-pipeline trust pin sha256:...",
        )
    return matching[0]


def _tell(out: Output, first: TrustRoot, anchor: Anchor, before: Anchor | None, newest: int) -> None:
    """Show what would be pinned: the first version of the trust root, whose people everything else follows from."""
    out.talk(f"first trust root: sha256:{anchor.root_digest}")
    out.talk(f"version {first.version}, of {first.repository} {first.branch}")
    for line in told(people_of(first)):
        out.talk(line)
    if newest > first.version:
        out.talk(f"since then it has come to version {newest}: `agent-pipeline trust show` says who may do what now")
    if before is not None and before != anchor:
        out.talk(f"in place of sha256:{before.root_digest} on {before.branch}")
    out.talk("compare it with somebody who knows it")
