"""`trust pin`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from agent_pipeline import clock
from agent_pipeline import config as configuration
from agent_pipeline.cli import desk as desks
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.documents.anchor import Anchor
from agent_pipeline.errors import RejectedError, UsageError
from agent_pipeline.repository import anchor as anchors
from agent_pipeline.repository import landed, remotes
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.trust_files import first_root_branches


@command("agent-pipeline trust pin", network=True)
@click.argument("digest", required=False)
def pin(out: Output, digest: str | None, *, push: bool) -> None:
    """Pin this repository's first trust root, outside the repository; compare DIGEST with somebody who knows it."""
    clone, config = Clone.discover(Path.cwd()), configuration.load()
    remote = clone.remote()
    if remote is not None and push:
        remotes.fetch(clone, remote)
    found = sorted(set(first_root_branches(clone, remote)))
    wanted = digest.removeprefix("sha256:") if digest else None
    matching = [(branch, value) for branch, value in found if wanted in (None, value)]
    if not matching:
        raise UsageError(
            "no branch here carries a first trust root" + (f" with the digest {digest}" if found else ""),
            hint="set the repository up with `agent-pipeline init`, or compare the digest again",
        )
    if len(matching) > 1:
        raise UsageError(
            f"several first trust roots are offered: {', '.join(f'sha256:{value}' for _, value in matching)}",
            hint="give the digest that you compared: agent-pipeline trust pin sha256:...",
        )
    branch, value = matching[0]
    anchor = Anchor(anchors.url_of(clone, remote), branch, value)
    before = anchors.load_pins(config).find(anchor.url)
    if before is not None and before != anchor and wanted is None:
        raise RejectedError(
            f"{anchor.url} is pinned to sha256:{before.root_digest} on {before.branch}, and now offers sha256:{value}",
            hint="find out why it changed; give the new digest to pin it all the same",
        )
    rules = landed.load(clone, remote, anchor, clock.now())  # what cannot be loaded is not pinned
    desks.check_address(clone, rules)
    out.talk(f"first trust root: sha256:{value}\ncompare it with somebody who knows it")
    if wanted is None and before is None and not out.as_json and sys.stdin.isatty():
        click.confirm("Pin it?", abort=True, err=True)
    anchors.save_pin(config, anchor)
    document = {"url": anchor.url, "branch": branch, "root": f"sha256:{value}"}
    out.finish(document, lambda: f"pinned {anchor.url}\n  branch {branch}\n  root   sha256:{value}")
