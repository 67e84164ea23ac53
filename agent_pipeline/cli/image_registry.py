"""`image push` and `image pull`: images in a registry, by digest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from agent_pipeline import config as configuration
from agent_pipeline.cli import dependencies
from agent_pipeline.cli.image import find
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.documents.images_lock import PATH as IMAGES_PATH
from agent_pipeline.documents.images_lock import ImagesLock, LockedImage
from agent_pipeline.errors import UsageError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.sandbox.images import locks, recipe
from agent_pipeline.sandbox.images.registry.pull import pull as pull_image
from agent_pipeline.sandbox.images.registry.push import push as push_image
from agent_pipeline.sandbox.images.registry.reference import parse
from agent_pipeline.sandbox.images.store import Store


@command("agent-pipeline image push project ghcr.io/team/sandbox --lock")
@click.argument("name", metavar="NAME|IDENTITY")
@click.argument("to", metavar="REGISTRY/REPOSITORY[:TAG]")
@click.option("--lock", is_flag=True, help="Write into this repository's images lock where the image can be had.")
def push(out: Output, name: str, to: str, *, lock: bool) -> None:
    """Send an image to an OCI registry; prints where it is, by digest.

    What the registry has already is not sent again. Without a tag the image gets its identity as one. Credentials are
    those of `docker login`, in Docker's own configuration (DOCKER_CONFIG); no engine is needed.
    """
    store, reference = Store(configuration.load()), parse(to)
    if reference.digest is not None:
        raise UsageError(f"{to}: the digest is the image's own", hint="name the repository, with a tag if you like")
    found = find(store, name)
    own = _own(found.identity) if lock else None
    image = store.get(found.identity)
    assert image is not None  # noqa: S101 - it was found just now
    there = str(push_image(image, reference, out.talk))
    files = _note(*own, found.identity, there) if own is not None else []
    document = {"name": found.name, "identity": found.identity, "reference": there, "files": files}
    lines = [there, *(f"wrote {path}; next: commit it" for path in files)]
    out.finish(document, lambda: "\n".join(lines))


def _own(identity: str) -> tuple[Clone, ImagesLock]:
    """Return this repository's lock, which must name the image. Raises `UsageError`."""
    own = dependencies.own_lock(Path.cwd())
    if own is None or all(locked.identity != identity for locked in own[1].images.values()):
        raise UsageError(
            f"no {IMAGES_PATH} here names sha256:{identity[:12]}",
            hint="leave --lock out, or call it in a repository whose lock has this image",
        )
    return own


def _note(clone: Clone, lock: ImagesLock, identity: str, there: str) -> list[str]:
    """Write into the working tree's lock where an image can be had; return what was written."""
    assert clone.worktree is not None  # noqa: S101 - the lock was found in it
    images = {
        name: replace(locked, registry=there) if locked.identity == identity else locked
        for name, locked in lock.images.items()
    }
    if images == lock.images:
        return []
    dependencies.write(clone.worktree, IMAGES_PATH, replace(lock, images=images).to_json() + b"\n")
    return [IMAGES_PATH]


@command("agent-pipeline image pull")
@click.argument("reference", metavar="[REGISTRY/REPOSITORY@sha256:DIGEST]", default="")
def pull(out: Output, reference: str) -> None:
    """Take an image from an OCI registry, by digest; its identity is computed, never believed.

    Without a reference: the images that this repository's lock says where to have, else those of this version's lock;
    each must be the locked one. Layers that are here already are not fetched.
    """
    store = Store(configuration.load())
    rows = []
    for where, identity in [(reference, None)] if reference else _locked():
        image = (store.get(identity) if identity is not None else None) or pull_image(
            store, parse(where), identity, out.talk
        )
        rows.append({"name": image.name, "identity": image.identity, "reference": where})
    out.finish({"images": rows}, lambda: "\n".join(f"{row['name']}  sha256:{row['identity']}" for row in rows))


def _locked() -> list[tuple[str, str]]:
    """Return what locks say can be had, and the identity that it must have. Raises `UsageError` where they say none."""
    own = dependencies.own_lock(Path.cwd())
    images: dict[str, LockedImage | None]
    images = {**own[1].images} if own is not None else {name: locks.shipped(name) for name in recipe.names()}
    for name, locked in images.items():
        if locked is not None:
            locks.check_is_for_here(name, locked, "`agent-pipeline image build --relock`")
    found = [(locked.registry, locked.identity) for locked in images.values() if locked and locked.registry]
    if not found:
        raise UsageError(
            f"{IMAGES_PATH if own is not None else 'the lock of this version'} names no registry",
            hint="give HOST/REPOSITORY@sha256:DIGEST; `agent-pipeline image push NAME HOST/REPOSITORY --lock` notes it",
        )
    return found
