"""`keys generate|list`."""

from __future__ import annotations

import click

from agent_pipeline import config as configuration
from agent_pipeline.attestation import keys as public_keys
from agent_pipeline.cli.groups import group
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.errors import UsageError
from agent_pipeline.signing.client import Signer
from agent_pipeline.signing.generate import generate as generate_key
from agent_pipeline.signing.hand import key_sources


@command("agent-pipeline keys generate")
@click.argument("name", default="default")
def generate(out: Output, name: str) -> None:
    """Make an Ed25519 key of your own; NAME is its file's name."""
    if not name.replace("-", "").replace("_", "").isalnum():
        raise UsageError(f"{name!r} is no plain file name", hint="use letters, digits, - and _")
    config = configuration.load()
    path = config.keys / name
    if path.exists():
        raise UsageError(f"{path} exists already", hint="choose another name; a key is never overwritten")
    generate_key(path, f"agent-pipeline {name}")
    key = Signer(str(path)).public()
    document = {"path": str(path), "keyid": key.keyid, "fingerprint": public_keys.fingerprint(key)}
    out.finish(document, lambda: f"{document['fingerprint']}  {path}")


@command("agent-pipeline keys list")
def list_(out: Output) -> None:
    """Your own keys and their fingerprints."""
    rows = []
    for source in key_sources(configuration.load()):
        key = Signer(source).public()
        shown = "AGENT_PIPELINE_KEY" if "\n" in source else source
        rows.append({"path": shown, "keyid": key.keyid, "fingerprint": public_keys.fingerprint(key)})
    lines = [f"{row['fingerprint']}  {row['path']}" for row in rows]
    out.finish({"keys": rows}, lambda: "\n".join(lines) or "no keys; make one with `agent-pipeline keys generate`")


keys = group(
    "keys",
    "Your own signing keys on this machine.",
    {
        "generate": ("keys:generate", "Make an Ed25519 key of your own."),
        "list": ("keys:list_", "Your own keys and their fingerprints."),
    },
    "agent-pipeline keys list",
)
