"""One sandbox for each mode, shared by the attacks that it must survive, and fresh ones for those it need not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from support.cells import MODES, Cell

from agent_pipeline import config as configuration
from agent_pipeline.config import Config
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images import build


@pytest.fixture(scope="session")
def config() -> Config:
    return configuration.load()


@pytest.fixture(scope="session")
def image(config: Config) -> Image:
    return build.ensure(config, "python", lambda _line: None)[1]


@pytest.fixture(scope="session")
def _shared() -> Iterator[dict[str, Cell]]:
    cells: dict[str, Cell] = {}
    yield cells
    for cell in cells.values():
        cell.close()


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    if request.param == "bubblewrap-root" and os.geteuid() != 0:
        pytest.skip("it takes root to start from root")
    return str(request.param)


@pytest.fixture
def cell(mode: str, config: Config, image: Image, _shared: dict[str, Cell]) -> Iterator[Cell]:
    """A sandbox that must still answer after the attack."""
    if mode not in _shared or not _shared[mode].alive():
        if mode in _shared:
            _shared.pop(mode).close()
        _shared[mode] = Cell(mode, config, image)
    yield _shared[mode]
    assert _shared[mode].alive(), "the attack took the sandbox down"


@pytest.fixture
def fresh(mode: str, config: Config, image: Image) -> Iterator[Callable[..., Cell]]:
    """Start sandboxes that the attack may take down; every one is closed at the end."""
    started: list[Cell] = []

    def begin(**bounds: object) -> Cell:
        started.append(Cell(mode, config, image, **bounds))
        return started[-1]

    yield begin
    for one in started:
        one.close()
