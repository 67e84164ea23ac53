"""One person alone, without a remote: the whole way, on both engines, and what must hold afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.people import ASKED, FIX, Person, ask, project

pytestmark = pytest.mark.containers


@pytest.fixture
def alice(tmp_path: Path) -> Person:
    person = Person("alice", tmp_path / "home", tmp_path / "clone")
    project(person)
    return person


@pytest.mark.parametrize("backend", ["docker", "bubblewrap"])
def test_from_a_request_to_a_merged_fix(alice: Person, backend: str) -> None:
    done = alice.yes("init")
    assert len(done["files"]) <= 5
    assert not done["trial"]
    assert alice.git("status", "--porcelain") == ""

    asked = ask(alice, backend)
    assert asked.code == 0, str(asked)
    found = asked.document
    assert found["state"] == "staged"
    assert found["paths"] == ["calc.py", "tests/test_calc.py"]
    assert found["proofs"] == ["signed", "replayed", "regression", "one person"]
    assert (found["persons"], found["people"]) == (1, ["alice"])
    assert found["sandbox"]["backend"] == backend

    landed = alice.yes("land", found["id"])
    assert landed["state"] == "merged"
    assert landed["proofs"] == ["signed", "replayed", "regression", "one person"]
    assert "if values else 0.0" in (alice.clone / "calc.py").read_text()
    assert alice.git("status", "--porcelain") == ""
    merge = alice.git("log", "-1", "--format=%T %P")
    assert merge.split()[0] == found["tree"]
    assert merge.split()[1] == found["base"]

    keys = alice.yes("keys", "list")["keys"]
    allowed = alice.home / "allowed"
    public = Path(keys[0]["path"] + ".pub").read_text().split()
    allowed.write_text(f"alice@example.org {public[0]} {public[1]}\n")
    alice.git("-c", f"gpg.ssh.allowedSignersFile={allowed}", "verify-commit", "HEAD")
    alice.git("-c", f"gpg.ssh.allowedSignersFile={allowed}", "verify-commit", "HEAD^2")
    log_head = alice.git("rev-parse", "refs/agent-pipeline/log").strip()
    assert log_head in alice.git("log", "-1", "--format=%B")

    again = alice.run("land", found["id"], "--json")
    assert again.code == 0
    assert again.document["state"] == "merged"
    assert ASKED in alice.run("list").out


def test_a_fix_without_a_test_that_fails_before_is_not_admitted(alice: Person) -> None:
    alice.yes("init")
    only_source = FIX.partition("tests =")[0]
    asked = ask(alice, "bubblewrap", only_source)
    assert asked.code == 1, str(asked)
    assert "no test" in asked.err
    shown = alice.yes("show", alice.yes("list")["requests"][0]["id"])
    assert shown["state"] == "rejected"
    refused = alice.run("land", shown["id"])
    assert refused.code == 1
    assert alice.git("log", "--format=%s").count("Merge") == 0


def test_a_change_that_breaks_a_test_is_not_admitted(alice: Person) -> None:
    alice.yes("init")
    asked = ask(alice, "bubblewrap", "open('calc.py','w').write('def mean(values): return 7\\n')", kind="refactor")
    assert asked.code == 1
    assert "test_mean" in asked.err


def test_secrets_of_the_base_never_reach_the_sandbox(alice: Person) -> None:
    alice.yes("init")
    script = "import os,sys; sys.exit(3 if os.path.exists('.env') or os.path.exists('.git') else 0)"
    asked = ask(alice, "bubblewrap", script, kind="refactor")
    assert asked.code == 1
    assert "nothing was changed" in asked.err


def test_protected_paths_are_refused(alice: Person) -> None:
    alice.yes("init")
    script = "import os; os.makedirs('.github/workflows'); open('.github/workflows/x.yml','w').write('on: push\\n')"
    asked = ask(alice, "bubblewrap", script, kind="refactor")
    assert asked.code == 1
    assert "denies changing `.github/workflows/x.yml`" in asked.err


def test_code_that_ends_the_test_run_is_not_admitted(alice: Person) -> None:
    alice.yes("init")
    script = "t=open('calc.py').read(); open('calc.py','w').write('import os\\nos._exit(0)\\n' + t)"
    asked = ask(alice, "bubblewrap", script, kind="refactor")
    assert asked.code == 1
    assert "report is not whole" in asked.err
