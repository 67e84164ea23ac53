"""Two requests at once in one clone: both come through, whoever is first on the log."""

from __future__ import annotations

import concurrent.futures
from pathlib import Path

import pytest
from support.people import FIX, Person, ask, project

pytestmark = pytest.mark.containers


def test_two_requests_at_once_are_both_staged(tmp_path: Path) -> None:
    alice = Person("alice", tmp_path / "home", tmp_path / "clone")
    project(alice)
    alice.yes("init")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: ask(alice, "bubblewrap", FIX), range(2)))
    assert [done.code for done in both] == [0, 0], [str(done) for done in both]
    assert {row["state"] for row in alice.yes("list")["requests"]} == {"staged"}
