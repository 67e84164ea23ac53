"""`image build|list|export|import`."""

from __future__ import annotations

from pathlib import Path

import click

from agent_pipeline import config as configuration
from agent_pipeline.cli.groups import group
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.errors import UsageError
from agent_pipeline.sandbox.images import archive
from agent_pipeline.sandbox.images.build import build as build_image
from agent_pipeline.sandbox.images.store import Store, StoredImage

MIB = 1 << 20


@command("agent-pipeline image build python")
@click.argument("name", default="python")
@click.option("--relock", is_flag=True, help="Take what the mirror has now, and print the new lock entry.")
def build(out: Output, name: str, *, relock: bool) -> None:
    """Build a base image from Debian's packages; the locked versions, or an error."""
    locked = build_image(configuration.load(), name, out.talk, relock=relock)
    document = {"name": name, "identity": locked.identity, "packages": locked.packages}
    out.finish(document, lambda: f"{name}  sha256:{locked.identity}")


@command("agent-pipeline image list")
def list_(out: Output) -> None:
    """The images on this machine, with their sizes."""
    images = Store(configuration.load()).list()
    rows = [{"name": i.name, "identity": i.identity, "base": i.base, "bytes": i.bytes} for i in images]
    lines = [f"{i.name:<24} {i.identity[:16]}  {i.bytes // MIB:>6} MiB" for i in images]
    out.finish({"images": rows}, lambda: "\n".join(lines) or "no images; make one with `agent-pipeline image build`")


def _find(store: Store, name: str) -> StoredImage:
    found = [i for i in store.list() if i.name == name or (len(name) >= 8 and i.identity.startswith(name))]  # noqa: PLR2004 - a prefix people can tell apart
    if len(found) != 1:
        raise UsageError(
            f"{len(found)} images here are called {name}", hint="`agent-pipeline image list` shows names and identities"
        )
    return found[0]


@command("agent-pipeline image export python python.image.tar")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def export(out: Output, name: str, file: Path) -> None:
    """Write an image to a file; whoever imports it gets the same identity."""
    config = configuration.load()
    image = _find(Store(config), name)
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


image = group(
    "image",
    "The sandbox images: what untrusted code runs in.",
    {
        "build": ("image:build", "Build a base image from Debian's packages."),
        "list": ("image:list_", "The images on this machine."),
        "export": ("image:export", "Write an image to a file."),
        "import": ("image:import_", "Take an image from a file."),
    },
    "agent-pipeline image build",
)
