"""`keys generate|list`."""

from __future__ import annotations

from typing import Any

import click

from agent_pipeline import config as configuration
from agent_pipeline.attestation import keys as public_keys
from agent_pipeline.cli.groups import group
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.errors import UsageError
from agent_pipeline.signing import protection, sources
from agent_pipeline.signing.generate import generate as make
from agent_pipeline.signing.listing import list_keys

_SCHEMES = {"ed25519": public_keys.ED25519, "p256": public_keys.P256}


@command("agent-pipeline keys generate --passphrase")
@click.argument("name", default="default")
@click.option(
    "--scheme", type=click.Choice(tuple(_SCHEMES)), default="ed25519", show_default=True, help="What it signs with."
)
@click.option("--passphrase", is_flag=True, help="Ask for a passphrase, and encrypt the file with it (bcrypt).")
def generate(out: Output, name: str, scheme: str, *, passphrase: bool) -> None:
    """Make a key of your own; NAME is its file's name.

    The file is encrypted with --passphrase, or when AGENT_PIPELINE_KEY_PASSPHRASE is set.
    """
    if not name.replace("-", "").replace("_", "").isalnum():
        raise UsageError(f"{name!r} is no plain file name", hint="use letters, digits, - and _")
    config = configuration.load()
    path = config.keys / name
    if path.exists():
        raise UsageError(f"{path} exists already", hint="choose another name; a key is never overwritten")
    made = make(path, f"agent-pipeline {name}", _SCHEMES[scheme], protect=passphrase)
    document = {
        "path": str(path),
        "scheme": made.key.scheme,
        "keyid": made.key.keyid,
        "fingerprint": public_keys.fingerprint(made.key),
        "encrypted": made.encrypted,
    }
    if not made.encrypted:
        out.talk(f"note: it is {protection.PLAIN}; {protection.ENCRYPTS}")
    out.finish(document, lambda: f"{document['fingerprint']}  {path}")


@command("agent-pipeline keys list")
def list_(out: Output) -> None:
    """Keys that can sign here: files, the ssh-agent's, a token's; each with what AGENT_PIPELINE_KEY calls it.

    Those in force come first: the one that AGENT_PIPELINE_KEY names, or else the files in the configuration directory.
    A file there that is no key, or that cannot be used, is listed with the reason; the others go on to sign.
    """
    found = list_keys(configuration.load(), out.talk)
    rows: list[dict[str, Any]] = [
        {
            "store": listed.store,
            "name": listed.name,
            "scheme": listed.key.scheme,
            "keyid": listed.key.keyid,
            "fingerprint": public_keys.fingerprint(listed.key),
            "remark": listed.remark,
        }
        | ({"path": listed.name, "encrypted": listed.encrypted} if listed.store == sources.FILE else {})
        for listed in found.keys
    ]
    unusable = [
        {"path": one.path, "reason": one.said, "hint": one.error.hint or one.error.advice} for one in found.unusable
    ]
    lines = [f"{row['fingerprint']}  {row['scheme']:<19}  {row['store']:<5}  {_said(row)}" for row in rows]
    lines = lines or ["no keys; make one with `agent-pipeline keys generate`"]
    lines += [f"not usable: {row['reason']}\n  next: {row['hint']}" for row in unusable]
    if any(listed.encrypted is False for listed in found.keys):
        out.talk(f"note: {protection.PLAIN}; {protection.ENCRYPTS}")
    out.finish({"keys": rows, "unusable": unusable}, lambda: "\n".join(lines))


def _said(row: dict[str, Any]) -> str:
    word = {True: "encrypted", False: "not encrypted", None: ""}[row.get("encrypted")]
    remarks = ", ".join(part for part in (row["remark"], word) if part)
    return f"{row['name']}  ({remarks})" if remarks else str(row["name"])


keys = group(
    "keys",
    "Your own signing keys: in files, in the ssh-agent, on a token.",
    {
        "generate": ("keys:generate", "Make a key of your own."),
        "list": ("keys:list_", "Keys that can sign here, and what they are called."),
    },
    "agent-pipeline keys list",
)
