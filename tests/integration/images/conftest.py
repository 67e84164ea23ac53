"""A store of our own with the base image in it, where every sandbox user can reach it."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from agent_pipeline import config as configuration
from agent_pipeline.config import Config
from agent_pipeline.sandbox import engines
from agent_pipeline.sandbox.contract import Engine, Image
from agent_pipeline.sandbox.images import archive, build
from agent_pipeline.sandbox.images.store import Store, remove


@pytest.fixture(scope="module")
def cache() -> Iterator[Path]:
    """A directory whose parents are open to the sandbox's user; pytest's own are not."""
    path = Path(tempfile.mkdtemp(prefix="agent-pipeline-test-"))
    path.chmod(0o755)
    yield path
    remove(path)


@pytest.fixture(scope="module")
def config(cache: Path) -> Iterator[Config]:
    """The machine's configuration with a cache of our own; what tests derive is taken away from the engine too."""
    config = dataclasses.replace(configuration.load(), cache_dir=cache)
    yield config
    client = docker.from_env()
    for image in Store(config).list():
        if image.base is not None:
            with contextlib.suppress(docker.errors.ImageNotFound):
                client.images.remove(f"agent-pipeline:{image.identity}", force=True)
    client.close()


@pytest.fixture(scope="module")
def base(config: Config, cache: Path) -> Image:
    """The machine's base image (made on the first run, as `make setup` does), carried over by a file."""
    _, image = build.ensure(configuration.load(), "python", lambda _line: None)
    file = cache / "base.tar"
    archive.export(configuration.load(), image.identity, file)
    carried = archive.load(config, file)
    file.unlink()
    assert carried.identity == image.identity
    return carried


@pytest.fixture(params=engines.NAMES)
def engine(request: pytest.FixtureRequest, config: Config) -> Engine:
    one = engines.engine(request.param, config)
    assert one.available() is None, one.available()
    return one
