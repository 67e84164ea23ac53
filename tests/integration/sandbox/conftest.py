"""A built image, a directory that every sandbox user can reach, and both engines."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent_pipeline import config as configuration
from agent_pipeline.config import Config
from agent_pipeline.sandbox import engines, layout
from agent_pipeline.sandbox.contract import Bounds, Engine, Image, Sandbox, Spec
from agent_pipeline.sandbox.images import build

BOUNDS = Bounds(memory_mb=256, pids=64, cpus="1", disk_mb=64, seconds=60)


@pytest.fixture(scope="session")
def config() -> Config:
    """The user's own cache, where the image is or is built once, and runs of our own."""
    return configuration.load()


@pytest.fixture(scope="session")
def image(config: Config) -> Image:
    return build.ensure(config, "python", lambda _line: None)[1]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory whose parents are open to the sandbox's user; pytest's own are not."""
    path = Path(tempfile.mkdtemp(prefix="agent-pipeline-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def workspace(folder: Path) -> Path:
    path = folder / "workspace"
    path.mkdir()
    if os.geteuid() == 0:
        os.chown(path, layout.owner(), layout.group())
    return path


@pytest.fixture(params=engines.NAMES)
def engine(request: pytest.FixtureRequest, config: Config) -> Engine:
    one = engines.engine(request.param, config)
    assert one.available() is None, one.available()
    return one


@pytest.fixture
def spec(image: Image, workspace: Path) -> Spec:
    return Spec(image, workspace, BOUNDS, "test")


Start = Callable[..., Sandbox]


@pytest.fixture
def start(engine: Engine, spec: Spec) -> Iterator[Start]:
    """Start sandboxes with other bounds or environment; every one is closed at the end."""
    started: list[Sandbox] = []

    def begin(**changes: object) -> Sandbox:
        bounds = replace(BOUNDS, **{name: value for name, value in changes.items() if name != "env"})  # type: ignore[arg-type]
        one = engine.start(replace(spec, bounds=bounds, env=changes.get("env", {})))
        started.append(one)
        return one

    yield begin
    for one in started:
        one.close()


@pytest.fixture
def sandbox(start: Start) -> Sandbox:
    return start()
