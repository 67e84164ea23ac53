"""`image build|list|export|import|rm`; `push` and `pull` are in `image_registry`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from agent_pipeline import clock
from agent_pipeline import config as configuration
from agent_pipeline.cli import dependencies
from agent_pipeline.cli.groups import group
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.config import Config
from agent_pipeline.documents import moments
from agent_pipeline.documents.images_lock import PATH as IMAGES_PATH
from agent_pipeline.documents.images_lock import ImagesLock, LockedImage
from agent_pipeline.errors import AgentPipelineError, RejectedError, SchemaError, UsageError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.sandbox.images import archive, locks, recipe, seal
from agent_pipeline.sandbox.images.build import build as build_image
from agent_pipeline.sandbox.images.build import wanted
from agent_pipeline.sandbox.images.discard import discard, in_use
from agent_pipeline.sandbox.images.sources import Sources, sources
from agent_pipeline.sandbox.images.store import Store, StoredImage

MIB = 1 << 20


@command("agent-pipeline image build project")
@click.argument("name", default="python")
@click.option("--relock", is_flag=True, help="Take what the mirror has now for a base, and print the new lock entry.")
@click.option("--locked", is_flag=True, help="Make the project's image as both lock files say, and change neither.")
@click.option(
    "--secret",
    "secrets",
    metavar="NAME=FILE",
    multiple=True,
    help="For a private package index: NAME is netrc, pip.conf, or the index's host (user:password, or a token).",
)
@click.option("--wheels", type=click.Path(path_type=Path), help="A directory of wheels of your own, beside the index.")
def build(out: Output, name: str, *, relock: bool, locked: bool, secrets: tuple[str, ...], wheels: Path | None) -> None:
    """Build a base image from Debian's packages, the locked versions or an error; or renew the project's image.

    NAME is a base (default: python), or an image that this repository's lock derives from one: then the dependencies
    that HEAD's commit names are resolved again, and both lock files in the working tree say what came out; with
    --locked the image is made as they say already. Secrets are for pip alone: no layer, lock, log or cache holds them.
    """
    own = dependencies.own_lock(Path.cwd()) if name not in recipe.names() else None
    if own is not None and name in own[1].images and own[1].images[name].base is not None:
        if relock:
            raise UsageError(f"{name} is always locked anew", hint="leave --relock out: it is for base images")
        given = sources(secrets, wheels)
        if locked:
            _print(out, name, dependencies.as_locked(own[0], configuration.load(), own[1], name, out.talk, given))
            return
        _renew(out, *own, name, given)
        return
    if locked or secrets or wheels is not None:
        raise UsageError(
            f"{name} is made of Debian's packages alone, always as locked",
            hint="--locked, --secret and --wheels are for the project's image, in its repository",
        )
    _print(out, name, build_image(configuration.load(), name, out.talk, relock=relock))


def _print(out: Output, name: str, locked: LockedImage) -> None:
    document = {"name": name, "identity": locked.identity, "packages": locked.packages}
    out.finish(document, lambda: f"{name}  sha256:{locked.identity}")


def _renew(out: Output, clone: Clone, lock: ImagesLock, name: str, given: Sources) -> None:
    done = dependencies.renew(clone, configuration.load(), lock, name, out.talk, given)
    document = {"name": name, "identity": done.locked.identity, "packages": done.locked.packages}
    document |= {"changes": list(done.changes), "files": list(done.written)}
    lines = [f"{name}  sha256:{done.locked.identity}", *(f"  {change}" for change in done.changes)]
    if done.written:
        lines += [f"wrote {' and '.join(done.written)}"]
        lines += ["next: commit these two files; they hold from when they are on the protected branch"]
    else:
        lines += ["nothing changed"]
    out.finish(document, lambda: "\n".join(lines))


@command("agent-pipeline image list")
def list_(out: Output) -> None:
    """The images on this machine: sizes, since when they are here, which lock here names them, what uses them.

    MiB of layers (images that share a layer share its bytes), and unpacked for bubblewrap.
    """
    config = configuration.load()
    store = Store(config)
    images, by_lock, now = store.list(), _by_lock(config), clock.now()
    rows = [_row(config, image, by_lock.get(image.identity, [])) for image in images]
    lines = [_line(row, now - image.since) for row, image in zip(rows, images, strict=True)]
    out.finish({"images": rows}, lambda: "\n".join(lines) or "no images; make one with `agent-pipeline image build`")


def _row(config: Config, image: StoredImage, locked: list[str]) -> dict[str, Any]:
    tree = config.cache_dir / "rootfs" / image.identity
    kept = seal.read(tree) if tree.is_dir() else None
    return {
        "name": image.name,
        "identity": image.identity,
        "base": image.base,
        "bytes": image.bytes,
        "unpacked": kept.bytes if kept is not None else None,
        "since": moments.write(image.since),
        "locked_by": locked,
        "in_use": in_use(config, image.identity),
    }


def _line(row: dict[str, Any], age: timedelta) -> str:
    unpacked = f"{row['unpacked'] // MIB:>6}" if row["unpacked"] is not None else f"{'-':>6}"
    words = [*row["locked_by"], *(["in use"] if row["in_use"] else [])]
    sizes = f"{row['bytes'] // MIB:>6} MiB  {unpacked} MiB unpacked"
    days = max(age.days, 0)  # a file's time can be a moment ahead of the clock
    return f"{row['name']:<24} {row['identity'][:16]}  {sizes}  {days:>4} days  {', '.join(words)}".rstrip()


def _by_lock(config: Config) -> dict[str, list[str]]:
    """Return which locks name an identity, in words."""
    found: dict[str, list[str]] = {}
    for name in recipe.names():
        for identity in wanted(config, name):
            found.setdefault(identity, []).append("this version's lock")
    try:
        own = dependencies.own_lock(Path.cwd())
    except AgentPipelineError:  # what is wrong with the lock is for `doctor` to say
        own = None
    for locked in own[1].images.values() if own is not None else ():
        found.setdefault(locked.identity, []).append("this repository's lock")
    return found


def find(store: Store, name: str) -> StoredImage:
    """Return the one image that a name or the beginning of an identity means. Raises `UsageError`."""
    found = [i for i in store.list() if i.name == name or (len(name) >= 8 and i.identity.startswith(name))]  # noqa: PLR2004 - a prefix people can tell apart
    if len(found) > 1:
        found = _locked(found, name) or found
    if len(found) != 1:
        raise UsageError(
            f"{len(found)} images here are called {name}", hint="`agent-pipeline image list` shows names and identities"
        )
    return found[0]


def _locked(found: list[StoredImage], name: str) -> list[StoredImage]:
    """Return that one of several images of a name which a lock means: this repository's, else the shipped one."""
    own = dependencies.own_lock(Path.cwd())
    for locked in (own[1].images.get(name) if own is not None else None, locks.shipped(name)):
        meant = [image for image in found if locked is not None and image.identity == locked.identity]
        if meant:
            return meant
    return []


@command("agent-pipeline image export python python.image.tar")
@click.argument("name", metavar="NAME|IDENTITY")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def export(out: Output, name: str, file: Path) -> None:
    """Write an image to a file; whoever imports it gets the same identity.

    NAME is a name in `image list`; of several that have it, the one is meant that this repository's lock names, else
    the one that this version's lock names. IDENTITY is an identity there, or its first eight characters or more.
    """
    config = configuration.load()
    image = find(Store(config), name)
    archive.export(config, image.identity, file)
    out.finish(
        {"name": image.name, "identity": image.identity, "file": str(file)},
        lambda: f"{image.name}  sha256:{image.identity}  {file}",
    )


@command("agent-pipeline image import python.image.tar")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def import_(out: Output, file: Path) -> None:
    """Take an image from a file; its identity is computed, never believed."""
    image = archive.load(configuration.load(), file)
    out.finish({"name": image.name, "identity": image.identity}, lambda: f"{image.name}  sha256:{image.identity}")


@command("agent-pipeline image rm python")
@click.argument("name", metavar="NAME|IDENTITY")
@click.option("--force", is_flag=True, help="Even if a lock in use here names it, or other images are made of it.")
def rm(out: Output, name: str, *, force: bool) -> None:
    """Remove an image from this machine: the store's copy, the unpacked one and the Docker engine's."""
    config = configuration.load()
    store = Store(config)
    image = find(store, name)
    reasons = _needed(config, store, image)
    if reasons and not force:
        raise RejectedError(
            f"{image.name} sha256:{image.identity[:12]} is needed: {'; '.join(reasons)}",
            hint="`--force` removes it all the same; it can be made again from its lock",
        )
    removed = discard(config, image.identity, out.talk)
    document = {"name": image.name, "identity": image.identity, "removed": removed}
    out.finish(document, lambda: f"removed {image.name}  sha256:{image.identity}")


def _needed(config: Config, store: Store, image: StoredImage) -> list[str]:
    """Return who needs an image: the lock of this program, the repository around, images that derive from it."""
    reasons = [
        f"{other.name} {other.identity[:12]} is made of it" for other in store.list() if other.base == image.identity
    ]
    if image.identity in wanted(config, image.name):
        reasons.append("it is the locked image of this program")
    try:
        clone = Clone.discover(Path.cwd())
        found = clone.file(clone.commit("HEAD"), IMAGES_PATH)
        here = ImagesLock.from_json(found).images.values() if found is not None else ()
    except (UsageError, SchemaError):
        here = ()  # no repository, or none of ours
    if any(image.identity in (locked.identity, locked.base) for locked in here):
        reasons.append(f"this repository's {IMAGES_PATH} names it")
    return reasons


image = group(
    "image",
    "The sandbox images: what untrusted code runs in.",
    {
        "build": ("image:build", "Build a base image, or renew the project's image."),
        "list": ("image:list_", "The images on this machine."),
        "export": ("image:export", "Write an image to a file."),
        "import": ("image:import_", "Take an image from a file."),
        "push": ("image_registry:push", "Send an image to a registry."),
        "pull": ("image_registry:pull", "Take an image from a registry, by digest."),
        "rm": ("image:rm", "Remove an image from this machine."),
    },
    "agent-pipeline image build",
)
