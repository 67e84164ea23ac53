"""One court for all attacks that are pushed for real: CI's verification in this process, from CI's own clone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.courts import Court, open_court
from support.teams import Team


@pytest.fixture(scope="module")
def court(at: Callable[[str], Team]) -> Court:
    return open_court(at("ready"))
