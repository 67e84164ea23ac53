"""The Docker engine runs exactly the bytes that we made, under the name that we gave them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from support import images

from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images import docker_load
from agent_pipeline.sandbox.images.layers import FILE, Entry
from agent_pipeline.sandbox.images.store import Store

pytestmark = pytest.mark.containers


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture
def small(tmp_path: Path, client: docker.DockerClient) -> Iterator[Image]:
    """An image that nobody else has, taken away from the engine afterwards."""
    content = str(tmp_path).encode()
    image = images.add(Store(images.config(tmp_path)), [Entry("usr/x", FILE, content=content)], [Entry("usr/y", FILE)])
    yield image
    for name in (f"sha256:{image.identity}", f"agent-pipeline:{image.identity}"):
        try:
            client.images.remove(name, force=True)
        except docker.errors.ImageNotFound:
            continue


def test_the_engines_id_is_the_identity(client: docker.DockerClient, small: Image) -> None:
    assert docker_load.ensure(client, small) == f"sha256:{small.identity}"
    facts = client.api.inspect_image(f"sha256:{small.identity}")
    config = json.loads((small.folder / "config.json").read_bytes())
    assert facts["RootFS"]["Layers"] == config["rootfs"]["diff_ids"]
    assert facts["Config"]["User"] == "10001:10001"
    assert docker_load.ensure(client, small) == f"sha256:{small.identity}"


def test_the_base_image_is_loaded_under_its_identity(client: docker.DockerClient, base: Image) -> None:
    assert docker_load.ensure(client, base) == f"sha256:{base.identity}"


def test_a_changed_configuration_is_not_given_to_the_engine(client: docker.DockerClient, small: Image) -> None:
    config = small.folder / "config.json"
    config.write_bytes(config.read_bytes().replace(b"10001:10001", b"00000:00000"))
    with pytest.raises(SandboxError, match="changed on disk"):
        docker_load.ensure(client, small)


def test_a_changed_layer_is_not_given_to_the_engine(client: docker.DockerClient, small: Image) -> None:
    layer = next((small.folder / "layers").iterdir())
    layer.chmod(0o644)
    layer.write_bytes(layer.read_bytes().replace(b"usr/", b"etc/"))
    with pytest.raises(SandboxError, match="changed on disk"):
        docker_load.ensure(client, small)


def test_another_image_under_our_name_is_refused(client: docker.DockerClient, small: Image, tmp_path: Path) -> None:
    other = images.add(
        Store(images.config(tmp_path / "other")), [Entry("usr/evil", FILE, content=str(tmp_path).encode())]
    )
    docker_load.ensure(client, other)
    client.images.get(f"sha256:{other.identity}").tag("agent-pipeline", small.identity)
    try:
        with pytest.raises(SandboxError, match="another image under the name"):
            docker_load.ensure(client, small)
    finally:
        client.images.remove(f"sha256:{other.identity}", force=True)


def test_an_engine_that_is_not_there_is_said(small: Image) -> None:
    nowhere = docker.DockerClient(base_url="unix:///nonexistent.sock", version="1.41")
    with pytest.raises(SandboxError, match="does not take the image"):
        docker_load.ensure(nowhere, small)
    nowhere.close()
