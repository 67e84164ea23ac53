"""One repository that is set up once, for all tests of what goes wrong in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.desks import Desk, initialised


@pytest.fixture(scope="session")
def ready() -> Iterator[Callable[[], Desk]]:
    with initialised() as restored:
        yield restored


@pytest.fixture
def desk(ready: Callable[[], Desk]) -> Iterator[Desk]:
    """A desk in an initialised repository, as `init` left it. Whatever a test does, nothing may be left behind."""
    one = ready()
    yield one
    assert one.left() == []
