"""`join`."""

from __future__ import annotations

from pathlib import Path

from agent_pipeline import clock
from agent_pipeline import config as configuration
from agent_pipeline.attestation import keys
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.repository import records, remotes
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.refs import RefUpdate
from agent_pipeline.signing import hand as hands
from agent_pipeline.signing import offers
from agent_pipeline.signing.client import Signer
from agent_pipeline.signing.generate import generate


@command("agent-pipeline join", network=True)
def join(out: Output, *, push: bool) -> None:
    """Offer your public key to this repository, under your Git user name. Makes a key when you have none."""
    clone, config = Clone.discover(Path.cwd()), configuration.load()
    name = offers.person_name(clone.identity()[0])
    sources = hands.key_sources(config)
    if not sources:
        generate(config.keys / "default", f"agent-pipeline {name}")
        sources = hands.key_sources(config)
        out.talk(f"made a key of your own: {sources[0]}")
    signer = Signer(sources[0])
    remote = clone.remote()
    if remote is not None and push:
        remotes.fetch(clone, remote)
    ref = records.OFFERS + name
    commit = records.extend(clone, None, name, {offers.FILE: offers.make(signer, name, clock.now())})
    update = RefUpdate(ref, clone.ref(remotes.tracking(remote, ref)), commit)
    records.publish(clone, [update], remote=remote if push else None)
    key = signer.public()
    document = {"name": name, "keyid": key.keyid, "fingerprint": keys.fingerprint(key), "ref": ref}
    hint = "next: somebody with the role root compares the fingerprint and runs"
    line = f"agent-pipeline trust add {name} --role ROLE --fingerprint {document['fingerprint']}"
    again = f"agent-pipeline trust rotate {name} --fingerprint {document['fingerprint']}"
    told = f"{name} offers {document['fingerprint']}\n{hint}\n  {line}\nor, in place of an older key\n  {again}"
    out.finish(document, lambda: told)
