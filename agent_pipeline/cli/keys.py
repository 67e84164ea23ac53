"""`keys generate|list`."""

from __future__ import annotations

import click

from agent_pipeline import config as configuration
from agent_pipeline.attestation import keys as public_keys
from agent_pipeline.cli.groups import group
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.errors import UsageError
from agent_pipeline.signing import sources
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
    key = make(path, f"agent-pipeline {name}", _SCHEMES[scheme], protect=passphrase)
    document = {
        "path": str(path),
        "scheme": key.scheme,
        "keyid": key.keyid,
        "fingerprint": public_keys.fingerprint(key),
    }
    out.finish(document, lambda: f"{document['fingerprint']}  {path}")


@command("agent-pipeline keys list")
def list_(out: Output) -> None:
    """Keys that can sign here: files, the ssh-agent's, a token's; each with what AGENT_PIPELINE_KEY calls it.

    Those in force come first: the one that AGENT_PIPELINE_KEY names, or else the files in the configuration directory.
    """
    rows = [
        {
            "store": listed.store,
            "name": listed.name,
            "scheme": listed.key.scheme,
            "keyid": listed.key.keyid,
            "fingerprint": public_keys.fingerprint(listed.key),
            "remark": listed.remark,
        }
        | ({"path": listed.name} if listed.store == sources.FILE else {})
        for listed in list_keys(configuration.load(), out.talk)
    ]
    lines = [f"{row['fingerprint']}  {row['scheme']:<19}  {row['store']:<5}  {_said(row)}" for row in rows]
    out.finish({"keys": rows}, lambda: "\n".join(lines) or "no keys; make one with `agent-pipeline keys generate`")


def _said(row: dict[str, str]) -> str:
    return f"{row['name']}  ({row['remark']})" if row["remark"] else row["name"]


keys = group(
    "keys",
    "Your own signing keys: in files, in the ssh-agent, on a token.",
    {
        "generate": ("keys:generate", "Make a key of your own."),
        "list": ("keys:list_", "Keys that can sign here, and what they are called."),
    },
    "agent-pipeline keys list",
)
