"""Targets and records that moved, pushes that lost: what was decided about something else is not done."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.desks import Desk, make, refused
from support.people import FIX, Done, Person, project

pytestmark = pytest.mark.containers


@dataclass
class Shared:
    """A desk whose clone has a bare remote, and a second clone of the same person's beside it."""

    desk: Desk
    bare: Path
    other: Desk

    def refs(self) -> dict[str, str]:
        """What the remote has."""
        lines = self.desk.person.git("for-each-ref", "--format=%(refname) %(objectname)", cwd=self.bare).splitlines()
        return dict(line.split(" ") for line in lines)

    def push_something(self) -> None:
        """Somebody else lands something on main."""
        self.other.person.git("pull", "-q", "--ff-only")
        (self.other.clone / "else.txt").write_text(f"{len(self.refs())}\n")
        self.other.person.git("add", "else.txt")
        self.other.person.git("commit", "-q", "-m", "Something else")
        self.other.person.git("push", "-q", "origin", "main")


@pytest.fixture(scope="module")
def origin() -> Iterator[Shared]:
    desk = make()
    try:
        project(desk.person)
        bare = desk.top / "origin.git"
        desk.person.git("init", "-q", "--bare", "-b", "main", str(bare))
        desk.person.git("remote", "add", "origin", str(bare))
        desk.person.git("push", "-q", "origin", "main")
        desk.person.yes("init")
        other = desk.top / "other"
        desk.person.git("clone", "-q", str(bare), str(other), cwd=desk.top)
        second = Person("alice", desk.person.home, other, desk.person.extra)
        shutil.copytree(desk.top, f"{desk.top}.saved", symlinks=True)
        yield Shared(desk, bare, Desk(desk.top, second))
    finally:
        shutil.rmtree(desk.top)
        shutil.rmtree(f"{desk.top}.saved", ignore_errors=True)


@pytest.fixture
def shared(origin: Shared) -> Iterator[Shared]:
    shutil.rmtree(origin.desk.top)
    shutil.copytree(f"{origin.desk.top}.saved", origin.desk.top, symlinks=True)
    yield origin
    assert origin.desk.left() == []


def not_landed(done: Done) -> None:
    """Check that what stands in the way is said to be a target that is elsewhere, and what to do."""
    (missing,) = done.document["missing"]
    assert "refs/heads/main is " in missing
    assert "ask again" in missing
    assert missing in done.err
    assert "ask again" in done.document["next"]


def staged(desk: Desk) -> str:
    done = desk.request()
    assert done.code == 0, str(done)
    assert done.document["state"] == "staged"
    return str(done.document["id"])


def test_a_target_that_moved(desk: Desk) -> None:
    """Alone: the base of the proposal is no longer the branch's tip."""
    request = staged(desk)
    desk.person.git("commit", "-q", "--allow-empty", "-m", "Something else")
    before = desk.refs()
    done = desk.run("land", request)
    assert done.code == 1, str(done)
    not_landed(done)
    merged = desk.run("ci", "merge", request)
    assert merged.code == 1, str(merged)
    assert "ask again" in merged.document["results"][0]["reason"]
    assert desk.refs() == before
    again = staged(desk)
    assert desk.run("land", again).code == 0


def test_a_target_that_moved_on_the_remote(shared: Shared) -> None:
    request = staged(shared.desk)
    shared.push_something()
    before = shared.refs()
    done = shared.desk.run("land", request)
    assert done.code == 1, str(done)
    not_landed(done)
    assert shared.refs() == before


def test_a_target_that_moved_while_the_agent_worked(shared: Shared) -> None:
    """The proposal is made for its base all the same, is admitted, and waits: nothing is rebased silently."""
    hook = "import os, time\nwhile not os.path.exists('/workspace/go'): time.sleep(0.05)\nos.remove('/workspace/go')\n"
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(shared.desk.request, hook + FIX)
        while not (found := list(shared.desk.top.glob("cache/runs/*/files/calc.py"))):
            assert not asked.done(), str(asked.result())
        shared.push_something()
        (found[0].parent / "go").touch()
        done = asked.result()
    assert done.code == 0, str(done)
    landed = shared.desk.run("land", done.document["id"])
    assert landed.code == 1
    not_landed(landed)


def test_a_record_that_moved_while_the_agent_worked(shared: Shared) -> None:
    """Somebody closes the request meanwhile: the proposal is not written over that."""
    hook = "import os, time\nwhile not os.path.exists('/workspace/go'): time.sleep(0.05)\nos.remove('/workspace/go')\n"
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(shared.desk.request, hook + FIX)
        while not (found := list(shared.desk.top.glob("cache/runs/*/files/calc.py"))):
            assert not asked.done(), str(asked.result())
        (row,) = shared.other.run("list").document["requests"]
        assert shared.other.run("close", row["id"]).code == 0
        (found[0].parent / "go").touch()
        done = asked.result()
    refused(done, 1)
    assert shared.desk.run("show", row["id"]).document["state"] == "closed"
    assert not [ref for ref in shared.refs() if ref.startswith("refs/heads/agent/")]


def test_a_push_that_lost_a_race(shared: Shared) -> None:
    """Two clones land two requests at once: one of them wins, the other is told, and nothing is half there."""
    first, second = staged(shared.desk), staged(shared.other)
    barrier = threading.Barrier(2)

    def land(desk: Desk, request: str) -> object:
        barrier.wait()
        return desk.run("land", request)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(land, (shared.desk, shared.other), (first, second)))
    assert sorted(done.code for done in results) == [0, 1], "\n".join(map(str, results))
    (lost,) = [done for done in results if done.code]
    assert "moved" in lost.out + lost.err or "ask again" in lost.err, str(lost)
    states = [row["state"] for row in shared.desk.run("list").document["requests"]]
    assert sorted(states) == ["merged", "staged"]
    merges = shared.desk.person.git("log", "--format=%s", "main", cwd=shared.bare).count("Merge agent change")
    assert merges == 1


def test_two_stage_the_same_proposal(shared: Shared) -> None:
    """CI runs twice at once: one entry in the log, one branch, and who lost says so or finds nothing to do."""
    request = staged(shared.desk)
    ref = f"refs/agent-pipeline/requests/{request}"
    shared.desk.person.git("update-ref", ref, f"{ref}^1", cwd=shared.bare)
    shared.desk.person.git("update-ref", "-d", "refs/agent-pipeline/log", cwd=shared.bare)
    shared.desk.person.git("update-ref", "-d", f"refs/heads/agent/{request}", cwd=shared.bare)
    for desk in (shared.desk, shared.other):
        forget(desk)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda desk: desk.run("ci", "run", request), (shared.desk, shared.other)))
    codes = sorted(done.code for done in results)
    assert codes in ([0, 0], [0, 1]), "\n".join(map(str, results))
    if codes == [0, 1]:
        (lost,) = [done for done in results if done.code]
        assert "moved" in lost.out or "already" in lost.out, str(lost)
    count = shared.desk.person.git("rev-list", "--count", "refs/agent-pipeline/log", cwd=shared.bare)
    assert count.strip() == "1"
    assert shared.desk.run("land", request).code == 0


def forget(desk: Desk) -> None:
    """Let a clone forget what it has of the records: it fetches them again."""
    for ref in desk.refs():
        if ref.startswith("refs/agent-pipeline"):
            desk.person.git("update-ref", "-d", ref)


def test_a_staged_branch_that_was_replaced(shared: Shared) -> None:
    request = staged(shared.desk)
    branch = f"refs/heads/agent/{request}"
    shared.desk.person.git("update-ref", branch, "refs/heads/main", cwd=shared.bare)
    before = shared.refs()
    done = shared.desk.run("land", request)
    assert done.code == 1, str(done)
    assert shared.refs() == before


def test_a_remote_that_is_away(shared: Shared) -> None:
    request = staged(shared.desk)
    shared.bare.rename(shared.desk.top / "away.git")
    before = shared.desk.refs()
    for argv in (("list",), ("land", request), ("ci", "run")):
        refused(shared.desk.run(*argv), 3, "origin", "--no-push")
    refused(shared.desk.request(), 3, "origin")
    assert shared.desk.refs() == before
    assert shared.desk.run("list", "--no-push").code == 0
    local = shared.desk.run("request", "x", "--kind", "refactor", "--no-push", "--sandbox", "bubblewrap", "--", "true")
    refused(local, 1, "nothing was changed")
    (shared.desk.top / "away.git").rename(shared.bare)


def test_a_remote_that_may_not_be_written_to(shared: Shared) -> None:
    hook = shared.bare / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'read-only today' >&2\nexit 1\n")
    hook.chmod(0o755)
    before = shared.refs()
    refused(shared.desk.request(), 1, "read-only today", "hooks")
    assert shared.refs() == before
    assert shared.desk.run("list").document["requests"] == []


def test_a_ref_that_another_git_holds(desk: Desk) -> None:
    """Another Git process at work in the clone: could not tell, nothing moved, and it works afterwards."""
    request = staged(desk)
    lock = desk.clone / ".git" / "refs" / "heads" / "main.lock"
    lock.touch()
    before = desk.refs()
    refused(desk.run("land", request), 3, "main", "another Git process")
    assert desk.refs() == before
    assert desk.person.git("status", "--porcelain") == ""
    lock.unlink()
    assert desk.run("land", request).code == 0


def test_an_index_that_another_git_holds(desk: Desk) -> None:
    request = staged(desk)
    lock = desk.clone / ".git" / "index.lock"
    lock.touch()
    before = desk.refs()
    done = desk.run("land", request)
    assert done.code != 0, str(done)
    assert desk.refs() == before
    lock.unlink()
    assert desk.run("land", request).code == 0
    assert desk.person.git("status", "--porcelain") == ""
