"""`join`, `trust pin|show|add`."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from agent_pipeline import clock, process
from agent_pipeline import config as configuration
from agent_pipeline.attestation import drafts, keys
from agent_pipeline.cli import desk as desks
from agent_pipeline.cli.groups import group
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.documents.anchor import Anchor
from agent_pipeline.documents.root import PAYLOAD_TYPE, ROLES, Key, TrustRoot
from agent_pipeline.errors import RejectedError, SignatureError, UsageError
from agent_pipeline.repository import anchor as anchors
from agent_pipeline.repository import landed, records, refs, remotes, worktree
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.records import Record
from agent_pipeline.repository.refs import RefUpdate
from agent_pipeline.repository.trust_files import file_name, first_root_branches
from agent_pipeline.signing import hand as hands
from agent_pipeline.signing import offers
from agent_pipeline.signing.client import Signer
from agent_pipeline.signing.commits import commit_files
from agent_pipeline.signing.generate import generate

ROOT_DAYS = 365


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
    told = f"{name} offers {document['fingerprint']}\n{hint}\n  {line}"
    out.finish(document, lambda: told)


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
    landed.load(clone, remote, anchor, clock.now())  # what cannot be loaded is not pinned
    out.talk(f"first trust root: sha256:{value}\ncompare it with somebody who knows it")
    if wanted is None and before is None and not out.as_json and sys.stdin.isatty():
        click.confirm("Pin it?", abort=True, err=True)
    anchors.save_pin(config, anchor)
    document = {"url": anchor.url, "branch": branch, "root": f"sha256:{value}"}
    out.finish(document, lambda: f"pinned {anchor.url}\n  branch {branch}\n  root   sha256:{value}")


@command("agent-pipeline trust show", network=True)
def show(out: Output, *, push: bool) -> None:
    """Who may do what here, with the fingerprints to compare, and what CI sets as AGENT_PIPELINE_ROOT."""
    desk = desks.here(out, push=push)
    document = described(desk)
    out.finish(document, lambda: _told(document))


def described(desk: Desk) -> dict[str, Any]:
    """Return the trust root as a JSON document."""
    root = desk.landed.root
    people = [
        {
            "name": person.name,
            "roles": list(person.roles),
            "bot": person.bot,
            "keys": [keys.fingerprint(key) for key in root.keys if key.keyid in person.keys],
        }
        for person in root.people
    ]
    return {
        "root": f"sha256:{desk.landed.anchor.root_digest}",
        "version": root.version,
        "expires": root.expires,
        "repository": root.repository,
        "branch": root.branch,
        "trial": desk.landed.trial,
        "people": people,
        "offers": _offers(desk, root),
    }


def _offers(desk: Desk, root: TrustRoot) -> list[dict[str, str]]:
    prefix = remotes.tracking(desk.remote, records.OFFERS)
    rows = []
    for ref, tip in sorted(desk.clone.refs(prefix).items()):
        name = ref.removeprefix(prefix)
        try:
            data = Record(name, tip, desk.clone).read(offers.FILE)
            key = offers.read(data, name) if data is not None else None
        except RejectedError as error:  # anybody who may push can put one there
            desk.tell(f"{name}: no offer: {error.message}")
            continue
        if key is not None and root.owner(key.keyid) is None:
            rows.append({"name": name, "fingerprint": keys.fingerprint(key)})
    return rows


def _told(document: dict[str, Any]) -> str:
    lines = [
        f"AGENT_PIPELINE_ROOT={document['root']}",
        f"version {document['version']}, until {document['expires']}",
        f"{document['repository']} {document['branch']}",
        "",
    ]
    for person in document["people"]:
        lines.append(f"{person['name']:<16} {', '.join(person['roles'])}{' (bot)' if person['bot'] else ''}")
        lines += [f"{'':<16} {key}" for key in person["keys"]]
    lines += [f"offers: {row['name']} {row['fingerprint']}" for row in document["offers"]]
    return "\n".join(lines)


@command("agent-pipeline trust add alice --role reviewer", network=True)
@click.argument("name")
@click.option("--role", "roles", multiple=True, required=True, type=click.Choice(ROLES), help="May be given again.")
@click.option("--fingerprint", metavar="SHA256:...", help="Of the key to add, as its owner told you; else it asks.")
def add(out: Output, name: str, roles: tuple[str, ...], fingerprint: str | None, *, push: bool) -> None:
    """Add a person, or roles for one, in a new signed version of the trust root on the protected branch."""
    desk = desks.here(out, push=push)
    hand = hands.need(desk.config, desk.clone, desk.landed.root, "root")
    key = _compared(out, desk, name, fingerprint)
    expires = clock.now() + timedelta(days=ROOT_DAYS)
    root = drafts.add(desk.landed.root, name, key, roles, expires=expires)
    if root.threshold > 1:
        raise UsageError(
            "this trust root wants several signatures", hint="one person alone cannot make the next version"
        )
    envelope = hand.signer.envelope(PAYLOAD_TYPE, root.to_json()).to_json() + b"\n"
    files = {file_name(root.version, hand.signer.public().keyid): envelope}
    branch = landed.SETUP_BRANCH if desk.landed.trial else desk.landed.anchor.branch
    message = f"Trust {name} as {', '.join(roles)}\n\nVersion {root.version} of the trust root.\n"
    commit = commit_files(desk.clone, desk.landed.commit, files, message, hand, clock.now())
    land_directly(desk, branch, desk.landed.commit, commit)
    document = {"name": name, "roles": list(roles), "version": root.version, "commit": commit}
    out.finish(document, lambda: f"{name} is now {', '.join(roles)} (version {root.version} of the trust root)")


def _compared(out: Output, desk: Desk, name: str, fingerprint: str | None) -> Key | None:
    """Return the key to add, which a person has compared with its owner; None when only roles are added.

    An offer is a ref that anyone who may push can replace at any moment, so that what is added should be what was
    compared: the fingerprint is given, or asked for on a terminal; a script without it is told. Somebody known gets
    another key only by its fingerprint.
    """
    if fingerprint is None and desk.landed.root.person(name) is not None:
        return None
    key = _offered(desk, name)
    if key is None:
        return None
    offered = keys.fingerprint(key)
    if fingerprint is None:
        out.talk(f"{name} offers {offered}")
        if out.as_json or not sys.stdin.isatty():
            out.talk(f"note: nobody compared that with {name}; --fingerprint adds only the key that was compared")
        else:
            click.confirm(f"Is that what {name} told you?", abort=True, err=True)
    elif fingerprint != offered:
        raise SignatureError(
            f"{name} offers {offered}, but you compared {fingerprint}",
            hint=f"somebody replaced the offer since; ask {name} to run `agent-pipeline join` again",
        )
    return key


def _offered(desk: Desk, name: str) -> Key | None:
    """Return the key that `name` offers, None when there is no offer for somebody already known."""
    ref = records.OFFERS + name
    tip = desk.clone.ref(remotes.tracking(desk.remote, ref))
    data = Record(name, tip, desk.clone).read(offers.FILE) if tip is not None else None
    if data is None:
        if desk.landed.root.person(name) is None:
            raise UsageError(f"{name} has offered no key", hint=f"{name} runs `agent-pipeline join` first")
        return None
    return offers.read(data, name)


def land_directly(desk: Desk, branch: str, old: str, new: str) -> None:
    """Move `branch` from `old` to `new` with a lease, and the checked-out files with it when nothing is in the way."""
    checked_out = desk.clone.worktree is not None and desk.clone.head_ref() == branch
    follow = checked_out and desk.clone.ref(branch) == old and not worktree.can_update(desk.clone, old, new)
    update = RefUpdate(branch, old, new)
    with process.held_back():
        records.publish(desk.clone, [update], remote=desk.remote)
        if follow:
            if desk.remote is not None:
                refs.update(desk.clone, [update])
            worktree.update(desk.clone, old, new)


trust = group(
    "trust",
    "Who may do what in this repository.",
    {
        "pin": ("trust:pin", "Pin this repository's first trust root."),
        "show": ("trust:show", "Who may do what, with fingerprints."),
        "add": ("trust:add", "Add a person, or roles for one."),
    },
    "agent-pipeline trust show",
)
