"""Where the anchor comes from: the person's pins, or CI's `AGENT_PIPELINE_ROOT`. Missing is an error."""

from __future__ import annotations

import re

from agent_pipeline.config import Config
from agent_pipeline.documents.anchor import Anchor, Pins
from agent_pipeline.errors import SchemaError, UsageError
from agent_pipeline.files import written_whole
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.trust_files import first_root_branches


def url_of(clone: Clone, remote: str | None) -> str:
    """Return what an anchor names this repository by: the remote's URL, or the clone's own path without one."""
    return clone.remote_url(remote) if remote is not None else str(clone.path)


def load_pins(config: Config) -> Pins:
    """Return the person's pins; none when there is no file. Raises `UsageError` for a file that holds none."""
    if not config.pins.exists():
        return Pins(1, ())
    try:
        return Pins.from_json(config.pins.read_bytes())
    except SchemaError as error:
        raise UsageError(
            f"{config.pins} cannot be read: {error.message}",
            hint="mend it, or remove it and pin again with `agent-pipeline trust pin`",
        ) from error


def save_pin(config: Config, anchor: Anchor) -> None:
    """Add `anchor` to the person's pins, replacing the file whole."""
    pins = load_pins(config).with_pin(anchor)
    config.pins.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(config.pins) as file:
        file.write(pins.to_json() + b"\n")


def find(clone: Clone, remote: str | None, config: Config) -> Anchor:
    """Return the anchor for this repository. Raises `UsageError` when nothing is pinned."""
    url = url_of(clone, remote)
    if config.root_digest is not None:
        return _from_environment(clone, remote, url, config.root_digest)
    pin = load_pins(config).find(url)
    if pin is None:
        raise UsageError(
            f"nothing is pinned for {url}: without an anchor no signature means anything",
            hint=_how_to_pin(clone, remote),
        )
    return pin


def _how_to_pin(clone: Clone, remote: str | None) -> str:
    if next(first_root_branches(clone, remote), None) is None:
        return "this repository is not set up yet: agent-pipeline init"
    return (
        "it is set up, or this clone was moved: compare the digest with somebody who knows it, then "
        "`agent-pipeline trust pin sha256:...`; in CI set AGENT_PIPELINE_ROOT"
    )


def _from_environment(clone: Clone, remote: str | None, url: str, text: str) -> Anchor:
    match = re.fullmatch(r"(?:sha256:)?([0-9a-f]{64})", text.strip())
    if match is None:
        raise UsageError(
            "AGENT_PIPELINE_ROOT is not `sha256:` and 64 hexadecimal digits",
            hint="`agent-pipeline trust show` prints the value to set",
        )
    for branch, digest in first_root_branches(clone, remote):
        if digest == match[1]:
            return Anchor(url, branch, match[1])
    raise UsageError(
        f"no branch of {url} carries a first trust root with the digest in AGENT_PIPELINE_ROOT",
        hint="either this is another repository, or its history was replaced; ask who set the variable",
    )
