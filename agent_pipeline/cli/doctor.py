"""`doctor`: what works here and what does not, and how to mend it."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from agent_pipeline import clock, process
from agent_pipeline import config as configuration
from agent_pipeline.attestation import trust
from agent_pipeline.cli import dependencies
from agent_pipeline.cli import desk as desks
from agent_pipeline.cli.options import NO, YES, command
from agent_pipeline.cli.output import Output
from agent_pipeline.config import Config
from agent_pipeline.documents.images_lock import LockedImage
from agent_pipeline.errors import AgentPipelineError, UsageError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.sandbox import host
from agent_pipeline.sandbox.contract import UID, Engine
from agent_pipeline.sandbox.engines import NAMES, engine
from agent_pipeline.sandbox.images import locks, recipe
from agent_pipeline.sandbox.images.store import Store
from agent_pipeline.signing import protection
from agent_pipeline.signing.listing import in_force
from agent_pipeline.signing.sources import FILE
from agent_pipeline.workspace import offered

BASE_IMAGE, PROJECT_IMAGE = "python", "project"
_MEND = {
    "bubblewrap": "run it in a delegated control group: `systemd-run --user --scope --property=Delegate=yes COMMAND`",
    "docker": "use a kernel with the memory, pids and cpu controllers",
}
OLDEST_GIT = (2, 38)  # merge-tree --write-tree


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `needed` findings decide the exit code."""

    name: str
    ok: bool
    said: str
    mend: str = ""
    needed: bool = True


@command("agent-pipeline doctor")
def doctor(out: Output) -> int:
    """What works here and what does not, and how to mend it."""
    config = configuration.load()
    findings = [
        _python(),
        _git(),
        _kernel(),
        *_engines(config),
        _images(config),
        _keys(config),
        _model(config),
        _repository(config),
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


def _engines(config: Config) -> list[Finding]:
    """Report both engines and what holds each bound; one engine is enough."""
    found = [_engine(config, name) for name in NAMES]
    if not any(finding.ok for finding in found):
        hint = "install docker.io or bubblewrap, or run `make setup` as root"
        found.append(Finding("sandbox", ok=False, said="no engine works: nothing untrusted can run here", mend=hint))
    return found


def _engine(config: Config, name: str) -> Finding:
    box = engine(name, config)
    why = box.available()
    if why is not None:
        return Finding(name, ok=False, said=why, needed=False)
    disk, held = _disk(config, box)
    missing = [*(bound for bound in box.unenforced() if bound != "disk"), *(() if held else ("disk",))]
    said = f"this host cannot enforce: {', '.join(missing)}" if missing else "all bounds are enforced"
    mend = _MEND.get(name, "") if set(missing) - {"disk"} else ""
    return Finding(name, ok=True, said="\n".join((f"works; {said}", *box.explain(), disk)), mend=mend, needed=False)


def _disk(config: Config, box: Engine) -> tuple[str, bool]:
    """Return how the virtual copy is made for an engine, and whether its size is bounded: tried."""
    try:
        mode, bounded = offered(lowers=config.lowers, parent=config.runs, uid=UID, reach=box.reach)
    except AgentPipelineError as error:
        return f"disk: not held, no copy can be made: {error.message}", False
    made = "an overlay" if mode == "overlay" else "a full copy"
    where = "mounted by us" if os.geteuid() == 0 else "in a user namespace of ours"
    if bounded:
        return f"disk: by a tmpfs of the policy's size, {where}; the virtual copy is {made}", True
    return f"disk: not held, the virtual copy is {made} on the disk of {config.runs}; each file is bounded", False


def _images(config: Config) -> Finding:
    """Say whether the base that this version's lock names and the repository's project image are here."""
    store, ingredients, shipped = Store(config), recipe.load(BASE_IMAGE), locks.shipped(BASE_IMAGE)
    relocked = locks.relocked(config, ingredients, shipped)
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


def _repository(config: Config) -> Finding:
    quiet: Callable[[str], None] = lambda _: None  # noqa: E731 - doctor itself does the talking
    try:
        clone = Clone.discover(Path.cwd())
    except UsageError as error:
        return Finding("repository", ok=False, said=error.message, mend=error.hint or "", needed=False)
    try:
        desk = desks.opened(clone, config, quiet, clock.now(), push=False)
    except AgentPipelineError as error:
        return Finding("repository", ok=False, said=error.message, mend=error.hint or "", needed=False)
    word = "on trial" if desk.landed.trial else "set up"
    said = f"{word}; trust root version {desk.landed.root.version}, until {desk.landed.root.expires}"
    warning = trust.expiry_warning(desk.landed.root, clock.now())
    if warning is not None:
        return Finding("repository", ok=False, said=warning, mend="agent-pipeline trust sign --renew", needed=False)
    return Finding("repository", ok=True, said=said, needed=False)
