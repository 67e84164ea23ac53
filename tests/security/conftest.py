"""One team that is set up once, at every stage of one request, for all attacks on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.teams import Team, staged_team


@pytest.fixture(scope="session")
def at() -> Iterator[Callable[[str], Team]]:
    """Give the team at a stage, as it was: `at("staged")`."""
    with staged_team() as restored:
        yield restored
