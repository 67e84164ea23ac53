"""One repository for each stage, made once: what only reads them shares them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.bundles import Shared


@pytest.fixture(scope="session")
def at(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Shared]:
    """Give a repository at a stage, and its bundle: `at("staged").data`. Nobody may change it."""
    made: dict[str, Shared] = {}

    def shared(stage: str) -> Shared:
        if stage not in made:
            made[stage] = Shared.make(tmp_path_factory.mktemp(stage) / "repository", stage)
        return made[stage]

    return shared
