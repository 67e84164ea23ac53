"""`join`."""

from __future__ import annotations

from pathlib import Path

import click

from agent_pipeline import clock
from agent_pipeline import config as configuration
from agent_pipeline.attestation import keys
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.cli.trust.asking import ask
from agent_pipeline.config import Config
from agent_pipeline.errors import RejectedError, UsageError
from agent_pipeline.repository import anchor as anchors
from agent_pipeline.repository import landed, records, remotes
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.records import Record
from agent_pipeline.repository.refs import RefUpdate
from agent_pipeline.signing import hand as hands
from agent_pipeline.signing import offers
from agent_pipeline.signing.own import own


@command("agent-pipeline join", network=True)
@click.option("--dry-run", is_flag=True, help="Only show what would be offered.")
def join(out: Output, *, dry_run: bool, push: bool) -> None:
    """Offer your public key to this repository, under your Git user name. Makes a key when you have none.

    An offer gives no role: somebody with the role root does, after comparing the fingerprint with you.
    """
    clone, config = Clone.discover(Path.cwd()), configuration.load()
    name, remote = offers.person_name(clone.identity()[0]), clone.remote()
    if remote is not None and push:
        remotes.fetch(clone, remote)
    ref = records.OFFERS + name
    before = clone.ref(remotes.tracking(remote, ref))
    where = f"{remote} ({clone.remote_url(remote)})" if remote is not None and push else "this clone alone"
    out.talk(f"{'name':<12} {name}")
    out.talk(f"{'roles':<12} none by this: somebody with the role root gives them")
    out.talk(f"{'goes to':<12} {ref} in {where}")
    if not hands.key_sources(config):
        out.talk(f"{'key':<12} (none) -> {config.keys / 'default'}, to be made")
        if dry_run:
            document = {"name": name, "keyid": None, "fingerprint": None, "ref": ref, "dry_run": True}
            out.finish(document, lambda: "nothing was made or offered")
            return
        ask(out, "Make it?")
    signer = own(config, name, out.talk)
    key = signer.public()
    fingerprint = keys.fingerprint(key)
    out.talk(f"{'offer':<12} {_offered(clone, name, before)} -> {fingerprint}")
    document = {"name": name, "keyid": key.keyid, "fingerprint": fingerprint, "ref": ref}
    if dry_run:
        out.finish(document | {"dry_run": True}, lambda: "nothing was offered")
        return
    ask(out, "Offer it?", "nobody compared that: whoever adds you has to hear the fingerprint from you by another way")
    offer = offers.make(signer, name, _repository(clone, config), clock.now())
    commit = records.extend(clone, None, name, {offers.FILE: offer})
    records.publish(clone, [RefUpdate(ref, before, commit)], remote=remote if push else None)
    out.finish(document, lambda: _told(name, fingerprint))


def _repository(clone: Clone, config: Config) -> str:
    """Return what the offer is for: the trust root's name where one is pinned, the clone's own address before that."""
    remote = clone.remote()
    try:
        return landed.load(clone, remote, anchors.find(clone, remote, config), None).root.repository
    except UsageError:  # nothing is pinned or set up: whoever adds the key compares the address
        return anchors.url_of(clone, remote)


def _offered(clone: Clone, name: str, tip: str | None) -> str:
    """Return what stands where the offer will: the fingerprint that is offered there now, for a person."""
    if tip is None:
        return "(none)"
    try:
        data = Record(name, tip, clone).read(offers.FILE)
        return keys.fingerprint(offers.read(data, name).key) if data is not None else "(no offer)"
    except RejectedError:  # anybody who may push can put something there
        return "(no offer)"


def _told(name: str, fingerprint: str) -> str:
    line = f"agent-pipeline trust add {name} --role ROLE --fingerprint {fingerprint}"
    again = f"agent-pipeline trust rotate {name} --fingerprint {fingerprint}"
    hint = "next: somebody with the role root compares the fingerprint and runs"
    return f"{name} offers {fingerprint}\n{hint}\n  {line}\nor, in place of an older key\n  {again}"
