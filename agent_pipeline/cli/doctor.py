"""`doctor`: what works here and what does not, and how to mend it."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from agent_pipeline import clock, process
from agent_pipeline import config as configuration
from agent_pipeline.attestation import trust
from agent_pipeline.cli import dependencies, sandboxes_found
from agent_pipeline.cli import desk as desks
from agent_pipeline.cli.finding import Finding
from agent_pipeline.cli.options import NO, YES, command
from agent_pipeline.cli.output import Output
from agent_pipeline.config import Config
from agent_pipeline.documents.images_lock import LockedImage
from agent_pipeline.documents.policy import Policy
from agent_pipeline.errors import AgentPipelineError, UsageError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.sandbox import host
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images import locks, recipe
from agent_pipeline.sandbox.images.store import Store
from agent_pipeline.signing import protection
from agent_pipeline.signing.listing import in_force
from agent_pipeline.signing.sources import FILE

BASE_IMAGE, PROJECT_IMAGE = "python", "project"
OLDEST_GIT = (2, 38)  # merge-tree --write-tree


@command("agent-pipeline doctor")
def doctor(out: Output) -> int:
    """What works here and what does not, and how to mend it."""
    config = configuration.load()
    repository, policy = _repository(config)
    findings = [
        _python(),
        _git(),
        _kernel(),
        *sandboxes_found.engines(config, policy, _image(config)),
        _images(config),
        _keys(config),
        _model(config),
        repository,
    ]
    ok = all(finding.ok for finding in findings if finding.needed)
    document = {"ok": ok, "findings": [asdict(finding) for finding in findings]}
    out.finish(document, lambda: "\n".join(_line(finding) for finding in findings))
    return YES if ok else NO


def _line(finding: Finding) -> str:
    mark = "ok  " if finding.ok else "FAIL" if finding.needed else "no  "
    said = finding.said.replace("\n", f"\n{'':<18}")
    return f"{mark} {finding.name:<12} {said}" + (f"\n                  mend: {finding.mend}" if finding.mend else "")


def _python() -> Finding:
    return Finding("python", ok=True, said=f"{platform.python_version()} on {platform.system()} {platform.release()}")


def _git() -> Finding:
    try:
        said = (
            process.run(["git", "--version"], env={"PATH": os.environ.get("PATH", os.defpath)}).stdout.decode().strip()
        )
    except AgentPipelineError as error:
        return Finding("git", ok=False, said=error.message, mend="install git 2.38 or newer")
    numbers = [int(part) for part in said.split()[2].split(".")[:2] if part.isdigit()]
    ok = tuple(numbers) >= OLDEST_GIT
    return Finding("git", ok=ok, said=said, mend="" if ok else "install git 2.38 or newer")


def _kernel() -> Finding:
    return Finding("kernel", ok=True, said="\n".join(host.describe()), needed=False)


def _image(config: Config) -> Image | None:
    """Return an image to try a sandbox with: the repository's own where it is here, else the base."""
    store, own = Store(config), _own_image()
    locked = [*([own] if own else []), *((BASE_IMAGE, lock) for lock in _base_locks(config) if lock is not None)]
    return next((image for _, lock in locked if (image := store.get(lock.identity)) is not None), None)


def _base_locks(config: Config) -> tuple[LockedImage | None, LockedImage | None]:
    """Return the base as this version's lock has it, and as it was made here."""
    ingredients, shipped = recipe.load(BASE_IMAGE), locks.shipped(BASE_IMAGE)
    return shipped, locks.relocked(config, ingredients, shipped)


def _images(config: Config) -> Finding:
    """Say whether the base that this version's lock names and the repository's project image are here."""
    store, (shipped, relocked) = Store(config), _base_locks(config)
    base = next((lock for lock in (shipped, relocked) if lock is not None and store.get(lock.identity)), None)
    said = [_said(BASE_IMAGE, base or relocked or shipped, here=base is not None)]
    own = _own_image()
    own_here = own is not None and store.get(own[1].identity) is not None
    if own is not None:
        said.append(_said(own[0], own[1], here=own_here))
        if not own_here and store.get(own[1].base or own[1].identity) is not None:
            said[-1] += " (the next request makes it)"
    said.append(f"{len(store.list())} in all")
    mend = "" if base is not None else f"agent-pipeline image build {BASE_IMAGE}"
    return Finding("images", ok=base is not None or own_here, said="; ".join(said), mend=mend)


def _said(name: str, locked: LockedImage | None, *, here: bool) -> str:
    if locked is None:
        return f"{name} is in no lock"
    return f"{name} {locked.identity[:12]}, as locked, is {'' if here else 'not '}here"


def _own_image() -> tuple[str, LockedImage] | None:
    """Return what this repository's lock derives from a base; a lock that cannot be read is for `repository` to say."""
    try:
        own = dependencies.own_lock(Path.cwd())
    except AgentPipelineError:
        return None
    derived = [(name, image) for name, image in own[1].images.items() if image.base is not None] if own else []
    return next(iter(sorted(derived, key=lambda item: (item[0] != PROJECT_IMAGE, item[0]))), None)


def _keys(config: Config) -> Finding:
    """Say of every key in force whether its file is encrypted, and what is wrong with the files that are no use."""
    try:
        found = in_force(config)
    except AgentPipelineError as error:
        return Finding("keys", ok=False, said=error.message, mend=error.hint or "")
    if not found.keys and not found.unusable:
        return Finding(
            "keys", ok=False, said=f"none in {config.keys}", mend="agent-pipeline keys generate", needed=False
        )
    plain = [listed for listed in found.keys if listed.encrypted is False]
    said = [f"{len(found.keys)} usable"]
    said += [
        f"{key.name}: {'encrypted' if key.encrypted else protection.PLAIN}" for key in found.keys if key.store == FILE
    ]
    said += [f"not usable: {one.said}" for one in found.unusable]
    mends = [*([protection.ENCRYPTS] if plain else []), *(one.error.hint or "" for one in found.unusable)]
    return Finding("keys", ok=bool(found.keys), said="\n".join(said), mend="; ".join(filter(None, mends)))


def _model(config: Config) -> Finding:
    if config.api_key is None:
        said = "ANTHROPIC_API_KEY is not set: --engine command works, --engine claude does not"
        return Finding("model", ok=False, said=said, mend="export ANTHROPIC_API_KEY=...", needed=False)
    return Finding("model", ok=True, said=f"a key is set; endpoint {config.base_url or 'the default'}", needed=False)


def _repository(config: Config) -> tuple[Finding, Policy | None]:
    """Say whether this repository is set up, and return the policy in force where it is."""
    quiet: Callable[[str], None] = lambda _: None  # noqa: E731 - doctor itself does the talking
    try:
        clone = Clone.discover(Path.cwd())
    except UsageError as error:
        return Finding("repository", ok=False, said=error.message, mend=error.hint or "", needed=False), None
    try:
        desk = desks.opened(clone, config, quiet, clock.now(), push=False)
    except AgentPipelineError as error:
        return Finding("repository", ok=False, said=error.message, mend=error.hint or "", needed=False), None
    word = "on trial" if desk.landed.trial else "set up"
    said = f"{word}; trust root version {desk.landed.root.version}, until {desk.landed.root.expires}"
    warning = trust.expiry_warning(desk.landed.root, clock.now())
    if warning is not None:
        expiring = Finding("repository", ok=False, said=warning, mend="agent-pipeline trust sign --renew", needed=False)
        return expiring, desk.landed.policy
    return Finding("repository", ok=True, said=said, needed=False), desk.landed.policy
