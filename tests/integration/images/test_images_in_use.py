"""What a sandbox uses that runs now is neither removed nor run after it was changed, on either engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from agent_pipeline.config import Config
from agent_pipeline.errors import RejectedError, SandboxError
from agent_pipeline.sandbox import layout
from agent_pipeline.sandbox.bubblewrap import Bubblewrap
from agent_pipeline.sandbox.contract import Bounds, Engine, Image, Spec
from agent_pipeline.sandbox.docker import Docker
from agent_pipeline.sandbox.images import archive, discard, docker_load, eviction, identity, layers, unpack
from agent_pipeline.sandbox.images.layers import FILE, Entry
from agent_pipeline.sandbox.images.store import Store, verified

pytestmark = pytest.mark.containers
BOUNDS = Bounds(memory_mb=512, pids=64, cpus="1", disk_mb=64, seconds=60)


def silent(_: str) -> None:
    """Progress that nobody looks at."""


@pytest.fixture
def own(config: Config, base: Image, tmp_path: Path) -> Iterator[Image]:
    """An image that runs and that nobody else has: the base with one file more."""
    store = Store(config)
    below = (base.folder / "config.json").read_bytes()
    facts = identity.read(below)
    with store.staging() as folder:
        path = folder / "top.tar"
        with path.open("wb") as file:
            top = layers.write([Entry("usr/local/own", FILE, content=str(tmp_path).encode())], file)
        sources = dict(zip(facts.layers, verified(base), strict=True))
        stacked = identity.Facts("own", (*facts.layers, top), facts.packages, base.identity, "0" * 64)
        image = store.add(identity.derived(below, stacked), {**sources, top: path})
    yield image
    if store.get(image.identity) is not None:
        discard.discard(config, image.identity, silent)


def spec(image: Image, cache: Path, name: str) -> Spec:
    workspace = cache / f"workspace-{name}"
    workspace.mkdir()
    if os.geteuid() == 0:
        os.chown(workspace, layout.owner(), layout.group())
    return Spec(image, workspace, BOUNDS, "test-in-use")


def test_what_runs_is_not_removed(engine: Engine, config: Config, own: Image, cache: Path) -> None:
    assert not discard.in_use(config, own.identity)
    with engine.start(spec(own, cache, f"live-{engine.name}")) as sandbox:
        assert discard.in_use(config, own.identity)
        with pytest.raises(RejectedError, match="uses the image"):
            discard.discard(config, own.identity, silent)
        assert sandbox.run(["cat", "/usr/local/own"], seconds=30).code == 0
        assert Store(config).get(own.identity) == own
    assert not discard.in_use(config, own.identity)
    discard.discard(config, own.identity, silent)
    assert Store(config).get(own.identity) is None
    assert not (config.cache_dir / "rootfs" / own.identity).exists()
    client = docker.from_env()
    assert not client.api.images(f"{archive.REPOSITORY}:{own.identity}")
    client.close()


def test_a_changed_layer_never_starts(engine: Engine, own: Image, cache: Path) -> None:
    layer = min((own.folder / "layers").iterdir(), key=lambda path: path.stat().st_size)
    layer.chmod(0o644)
    data = bytearray(layer.read_bytes())
    data[len(data) // 3] ^= 1
    layer.write_bytes(data)
    with pytest.raises(SandboxError, match="has been changed on disk"):
        engine.start(spec(own, cache, f"layer-{engine.name}"))


def test_a_changed_tree_never_starts_and_is_made_anew(config: Config, own: Image, cache: Path) -> None:
    root, engine = unpack.rootfs(config, own), Bubblewrap(config)
    file = root / "usr/local/own"
    file.chmod(0o644)
    file.write_bytes(b"x" * file.stat().st_size)
    file.chmod(0o444)
    with pytest.raises(SandboxError, match=f"changed on disk: {file}"):
        engine.start(spec(own, cache, "tree"))
    eviction.drop(root)
    with engine.start(spec(own, cache, "tree-again")) as sandbox:
        assert sandbox.run(["cat", "/usr/local/own"], seconds=30).output != b"x"


def test_another_image_under_the_name_never_starts(config: Config, own: Image, base: Image, cache: Path) -> None:
    client = docker.from_env()
    try:
        loaded = client.images.get(docker_load.ensure(client, base))
        loaded.tag(archive.REPOSITORY, own.identity)
        with pytest.raises(SandboxError, match="another image under the name"):
            Docker(config).start(spec(own, cache, "retagged"))
    finally:
        client.images.remove(f"{archive.REPOSITORY}:{own.identity}", force=True)
        client.close()
