"""What the agent's copy lacks is said, counted and recorded; what is made in its place is refused, with the reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.desks import Desk, refused
from support.people import FIX

pytestmark = pytest.mark.containers

LONG = "x" * 256
KEYS = [f"keys/{number:02}.pem" for number in range(12)]
LACKS = {
    "withheld": {"count": 13, "paths": [".env", *KEYS]},
    "left_out": {"count": 1, "paths": [LONG]},
}
TOLD = f"withheld by the policy (paths.read): {', '.join(LACKS['withheld']['paths'][:5])} and 8 more"


@pytest.fixture
def lacking(desk: Desk) -> Desk:
    """A repository with thirteen paths that the starter policy withholds, and one that no directory can hold."""
    for name in KEYS:
        path = desk.clone / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("key")
    desk.person.git("add", "-A")
    blob = desk.person.git("rev-parse", "HEAD:calc.py").strip()
    desk.person.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{LONG}")
    desk.person.git("commit", "-q", "-m", "Keys, and a long name")
    return desk


def shown(desk: Desk, name: str) -> Any:
    return json.loads(desk.run("show", name).out)


def test_what_a_copy_lacks_is_told_and_recorded(lacking: Desk) -> None:
    done = lacking.request()
    assert done.code == 0, str(done)
    assert done.document["copy"] == LACKS
    name = done.document["id"]
    assert f"copy: {TOLD}; `agent-pipeline show {name} --json` lists all" in done.err.splitlines()
    assert f"copy: left out, since no directory can hold it: {LONG}" in done.err.splitlines()
    assert shown(lacking, name)["copy"] == shown(lacking, f"{name}.1")["copy"] == LACKS
    for_people = lacking.person.run("show", name).out
    assert TOLD in for_people
    assert LONG in for_people
    assert f"note: copy: {TOLD}" in lacking.person.run("transcript", name).out
    assert lacking.run("land", name).code == 0
    assert shown(lacking, name)["copy"] == LACKS


def test_a_run_without_a_proposal_says_it_too(lacking: Desk) -> None:
    done = lacking.request("raise SystemExit(3)")
    assert done.code == 1, str(done)
    document = json.loads(done.out)
    assert document["copy"] == LACKS
    assert shown(lacking, document["id"])["copy"] == LACKS


def test_a_copy_that_lacks_nothing_says_so(desk: Desk) -> None:
    desk.person.git("rm", "-q", ".env")
    desk.person.git("commit", "-q", "-m", "No secrets")
    done = desk.request()
    assert done.code == 0, str(done)
    assert done.document["copy"] == {"withheld": {"count": 0, "paths": []}, "left_out": {"count": 0, "paths": []}}
    assert "copy:" not in done.err
    for_people = desk.person.run("show", done.document["id"]).out
    assert "withheld" not in for_people
    assert "left out" not in for_people


def test_what_is_made_in_a_withheld_place_is_refused_with_what_to_do(lacking: Desk) -> None:
    script = FIX + 'pathlib.Path("keys").mkdir()\npathlib.Path("keys/03.pem").write_text("mine")\n'
    error = refused(lacking.request(script), 1, "keys/03.pem", "withheld from agents", "paths.read")
    assert "the operator" in error["hint"]
    assert "plain names" not in error["hint"]


def test_what_no_proposal_carries_is_refused_with_what_it_carries(lacking: Desk) -> None:
    script = FIX + 'pathlib.Path("link").symlink_to("calc.py")\n'
    assert "plain names" in refused(lacking.request(script), 1, "`link`", "symbolic link")["hint"]
