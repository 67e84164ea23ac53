"""Repositories and requests that cannot be worked with: each said once, with what to do, and nothing left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest
from support.desks import Desk, make, refused
from support.people import FIX, Done, project

pytestmark = pytest.mark.containers

NOTHING = "pass"
EVERYWHERE = (
    ("init",), ("request", "x"), ("land", "abc"), ("list",), ("show", "abc"), ("diff", "abc"), ("log", "abc"),
    ("transcript", "abc"), ("stop", "abc"), ("close", "abc"), ("ci", "run"), ("ci", "replay", "abc", "--out", "x"),
    ("ci", "stage", "abc"), ("ci", "merge"), ("review", "list"), ("review", "approve", "abc", "--tree", "0" * 40),
    ("review", "reject", "abc", "--reason", "x"), ("join",), ("trust", "pin"), ("trust", "show"),
    ("trust", "add", "rosa", "--role", "reviewer"), ("policy", "check"),
)  # fmt: skip


@pytest.fixture
def fresh() -> Iterator[Desk]:
    """A desk without any repository."""
    one = make()
    one.clone.mkdir()
    try:
        yield one
        assert one.left() == []
    finally:
        shutil.rmtree(one.top)


@pytest.mark.parametrize("argv", EVERYWHERE, ids=lambda argv: " ".join(argv[:2]))
def test_not_a_repository(fresh: Desk, argv: tuple[str, ...]) -> None:
    refused(fresh.run(*argv), 2, str(fresh.clone), "git")
    assert not fresh.config.exists()
    assert list(fresh.clone.iterdir()) == []


@pytest.mark.parametrize("argv", [("init",), ("request", "x"), ("join",)], ids=lambda argv: argv[0])
def test_no_commits(fresh: Desk, argv: tuple[str, ...]) -> None:
    fresh.person.git("init", "-q", "-b", "main")
    refused(fresh.run(*argv), 2, "no commits", "first commit")
    assert not fresh.config.exists()


def test_init_on_a_detached_head(fresh: Desk) -> None:
    project(fresh.person)
    fresh.person.git("checkout", "-q", "--detach")
    refused(fresh.run("init"), 2, "detached", "git switch")
    assert not fresh.config.exists()


def test_a_detached_head_hinders_nobody_later(desk: Desk) -> None:
    desk.person.git("checkout", "-q", "--detach")
    asked = desk.request()
    assert asked.code == 0, str(asked)
    assert desk.run("land", asked.document["id"]).code == 0
    assert "if values" in desk.person.git("show", "main:calc.py")
    assert "if values" not in (desk.clone / "calc.py").read_text()


@pytest.mark.parametrize("argv", [("init",), ("request", "x")], ids=lambda argv: argv[0])
def test_a_shallow_clone(fresh: Desk, argv: tuple[str, ...]) -> None:
    source = fresh.top / "source"
    project_at(fresh, source)
    shutil.rmtree(fresh.clone)
    fresh.person.git("clone", "-q", "--depth", "1", f"file://{source}", str(fresh.clone), cwd=fresh.top)
    refused(fresh.run(*argv), 2, "shallow", "--unshallow")


def project_at(desk: Desk, place: object) -> None:
    """Make the project at `place`, with two commits."""
    project(desk.person)
    desk.person.git("commit", "-q", "--allow-empty", "-m", "Another")
    desk.person.git("clone", "-q", "--bare", str(desk.clone), str(place), cwd=desk.top)


def test_submodules_are_left_out_and_said(desk: Desk) -> None:
    library = desk.top / "library"
    desk.person.git("init", "-q", "-b", "main", str(library), cwd=desk.top)
    desk.person.git("commit", "-q", "--allow-empty", "-m", "A library", cwd=library)
    desk.person.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library), "vendor/library")
    desk.person.git("commit", "-q", "-m", "Use a library")
    asked = desk.request("import os; assert os.listdir('vendor/library') == []; " + one_line(FIX))
    assert asked.code == 0, str(asked)
    assert "note: submodules are empty in the sandbox: vendor/library" in asked.err
    landed = desk.run("land", asked.document["id"])
    assert landed.code == 0, str(landed)
    assert "160000 commit" in desk.person.git("ls-tree", "main", "vendor/library")


def test_a_change_inside_a_submodule_is_refused(desk: Desk) -> None:
    library = desk.top / "library"
    desk.person.git("init", "-q", "-b", "main", str(library), cwd=desk.top)
    desk.person.git("commit", "-q", "--allow-empty", "-m", "A library", cwd=library)
    desk.person.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library), "vendor/library")
    desk.person.git("commit", "-q", "-m", "Use a library")
    asked = desk.request("open('vendor/library/evil.py', 'w').write('x')", kind="refactor")
    refused(asked, 1, "vendor/library", "submodule")


def one_line(script: str) -> str:
    return f"exec({script!r})"


def test_a_dirty_tree_is_left_out_and_said(desk: Desk) -> None:
    (desk.clone / "calc.py").write_text("broken\n")
    (desk.clone / "new.py").write_text("also mine\n")
    asked = desk.request("import os; assert not os.path.exists('new.py'); " + one_line(FIX))
    assert asked.code == 0, str(asked)
    (note,) = [line for line in asked.err.splitlines() if line.startswith("note: uncommitted")]
    assert "calc.py" in note
    assert "new.py" in note
    assert (desk.clone / "calc.py").read_text() == "broken\n"

    before = desk.refs()
    refused(desk.run("land", asked.document["id"]), 1, "calc.py", "stash")
    assert desk.refs() == before
    assert (desk.clone / "calc.py").read_text() == "broken\n"
    desk.person.git("checkout", "-q", "--", "calc.py")
    assert desk.run("land", asked.document["id"]).code == 0


def nothing_was_recorded(desk: Desk) -> None:
    assert not [ref for ref in desk.refs() if ref.startswith("refs/agent-pipeline/")]


@pytest.mark.parametrize("base", ["nowhere", "0" * 40, "HEAD~99", "-x", "", "HEAD:calc.py"])
def test_a_base_that_does_not_exist(desk: Desk, base: str) -> None:
    refused(desk.request(FIX, f"--base={base}"), 2, f"`{base}` names no commit")
    nothing_was_recorded(desk)


@pytest.mark.parametrize("target", ["nowhere", "refs/heads/nowhere"])
def test_a_target_that_does_not_exist(desk: Desk, target: str) -> None:
    refused(desk.request(FIX, "--target", target), 2, "refs/heads/nowhere", "--target")
    nothing_was_recorded(desk)


@pytest.mark.parametrize("words", ["", "   \n\t "])
def test_an_empty_request(desk: Desk, words: str) -> None:
    refused(desk.run("request", words), 2, "empty")
    (desk.clone / "words").write_text(words)
    refused(desk.run("request", "-F", "words"), 2, "empty")
    refused(desk.run("request"), 2, "empty")
    nothing_was_recorded(desk)


def test_a_request_that_is_no_text(desk: Desk) -> None:
    (desk.clone / "words").write_bytes(b"\xff\xfe broken")
    refused(desk.run("request", "-F", "words"), 2, "words", "UTF-8")
    refused(desk.run("request", "-F", "nowhere"), 2, "nowhere")
    refused(desk.run("request", "-F", "."), 2, "irectory")
    refused(desk.run("request", "x" * 70_000), 2, "65536")
    nothing_was_recorded(desk)


def test_a_request_that_changes_nothing(desk: Desk) -> None:
    before = desk.refs()
    refused(desk.request(NOTHING), 1, "nothing was changed", "say more")
    failed = said_to_have_failed(desk)
    assert "nothing was changed" in json.dumps(failed)
    kept = {name: tip for name, tip in desk.refs().items() if not name.startswith("refs/agent-pipeline/requests/")}
    assert kept == before


def said_to_have_failed(desk: Desk) -> dict[str, object]:
    (row,) = desk.run("list").document["requests"]
    assert row["state"] == "failed"
    shown: Done = desk.run("show", row["id"])
    assert shown.code == 0
    return shown.document  # type: ignore[no-any-return]
