"""A hostile runner: Alice's own program signs what it likes. CI says which step refuses it, and nothing lands."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from support.courts import Court, open_court
from support.hostile import HostileRunner
from support.teams import MAIN, Team

from agent_pipeline.documents.proposal import Change
from agent_pipeline.documents.request import EngineChoice, Limits
from agent_pipeline.policy import rules
from agent_pipeline.repository import records
from agent_pipeline.repository.trees import Put

pytestmark = pytest.mark.containers

At = Callable[[str], Team]
FILE = Put(b"x = 1\n", "100644")
ANY = (Change("calc.py", "put", "100644", "0" * 64, 1, "1" * 40),)  # for trees that no manifest can describe


@pytest.fixture(scope="module")
def court(at: At) -> Court:
    return open_court(at("ready"))


RUNS_LATER = (
    "conftest.py", "tests/conftest.py", "CONFTEST.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml",
    "tox.ini", "setup.cfg", "setup.py", "pyproject.toml", "noxfile.py", "hatch_build.py", "hatch.toml",
    "sitecustomize.py", "usercustomize.py", "src/sitecustomize.py", "x.pth", "src/deep/y.PTH", ".coveragerc",
    "evil.dist-info/entry_points.txt", "evil.egg-info/entry_points.txt", "pytest.py", "pytest/__init__.py",
    "_pytest/__init__.py", "pluggy.py", "agent_pipeline_reporter.py", "src/pytest.py",
    ".github/workflows/x.yml", ".GitHub/workflows/x.yml", ".gitlab-ci.yml", ".GitLab-CI.yml", "Jenkinsfile",
    ".pre-commit-config.yaml", ".husky/pre-commit", ".vscode/tasks.json", ".VSCode/tasks.json", ".envrc", ".mcp.json",
    "CLAUDE.md", "claude.md", "docs/AGENTS.md", ".claude/settings.json", "Dockerfile", "CODEOWNERS",
    "vendor/bare/HEAD", "docs/.env", "docs/.ENV", "secrets/token", "id_ed25519",
)  # fmt: skip
RULES = (
    ".agent-pipeline/policy.yaml",
    ".agent-pipeline/trust/9.00000000.dsse.json",
    ".agent-pipeline/images.lock.json",
)
LEFTOVERS = ("__pycache__/calc.cpython-311.pyc", "calc.pyc", "build/lib/calc.py")


@pytest.mark.parametrize("path", [*RUNS_LATER, *RULES, *LEFTOVERS])
def test_the_policy_that_init_writes_allows_nothing_that_runs_later(court: Court, path: str) -> None:
    change = dataclasses.replace(ANY[0], path=path)
    (reason,) = rules.check_changes(court.policy, [change])[:1]
    assert path in reason


@pytest.mark.parametrize("path", ["tests/conftest.py", ".VSCode/tasks.json", "x.dist-info/a", RULES[0], LEFTOVERS[0]])
def test_what_runs_later_or_is_a_rule_is_refused_by_the_policy(court: Court, path: str) -> None:
    runner = court.runner
    base = runner.clone.file(runner.base, path)
    failed = court.failed(runner.propose(runner.built({path: Put((base or b"") + b"\n#evil\n", "100644")})))
    assert set(failed) == {"allowed paths"}, failed
    assert path in failed["allowed paths"]


@pytest.mark.parametrize("path", [".env", ".agent-pipeline/policy.yaml", ".agent-pipeline/images.lock.json"])
def test_deleting_what_an_agent_may_not_change_is_refused(court: Court, path: str) -> None:
    runner = court.runner
    failed = court.failed(runner.propose(runner.built({path: None})))
    assert set(failed) == {"allowed paths"}


ODD: dict[str, tuple[Callable[[Court], str], str, str]] = {
    "a link": (lambda c: c.with_entry("link", f"120000:{c.blob(b'/etc/passwd')}"), "changes", "mode 120000"),
    "a link for a file": (lambda c: c.with_entry("calc.py", f"120000:{c.blob(b'/etc')}"), "changes", "mode 120000"),
    "a submodule": (lambda c: c.with_entry("lib", f"160000:{'1' * 40}"), "changes", "mode 160000"),
    "git attributes": (lambda c: c.with_entry(".gitattributes", f"100644:{c.blob(b'* filter=x')}"), "changes", "Git"),
    "git attributes below": (
        lambda c: c.with_entry("tests/.GitAttributes", f"100644:{c.blob(b'* filter=x')}"), "changes", "Git",
    ),
    "git modules": (lambda c: c.with_entry(".gitmodules", f"100644:{c.blob(b'[submodule]')}"), "changes", "Git"),
    "a short name": (lambda c: c.with_entry("GI7EBA~1", f"100644:{c.blob(b'x')}"), "changes", "short name"),
    "an option": (lambda c: c.with_entry("--upload-pack=x", f"100644:{c.blob(b'x')}"), "changes", "option"),
    "an escape": (lambda c: c.with_entry("a\x1b[2Jb", f"100644:{c.blob(b'x')}"), "changes", "control"),
    "a device": (lambda c: c.with_entry("aux.py", f"100644:{c.blob(b'x')}"), "changes", "device"),
    "a setuid file": (lambda c: c.with_entry("calc.py", f"104755:{c.blob(b'x')}"), "changes", "is not what its own"),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_entries_that_no_manifest_can_hold(court: Court, what: str) -> None:
    make, step, word = ODD[what]
    tree = make(court)
    failed = court.failed(court.runner.propose(tree, changes=ANY))
    assert step in failed, failed
    assert word in failed[step], failed


@pytest.mark.parametrize("name", [".git/config", "GIT~1/config", "sub/.GIT/hooks/pre-commit"])
def test_a_planted_git_directory_does_not_even_arrive(court: Court, name: str) -> None:
    runner = court.runner
    tree = court.with_entry(name, f"100644:{court.blob(b'[core] fsmonitor = touch /tmp/owned')}")
    request = runner.propose(tree, changes=ANY)
    told: list[str] = []
    desk = court.desk(told.append)
    assert not [record for record in records.all_records(desk.clone, desk.remote) if record.id == request]
    assert [line for line in told if line.startswith(f"refs/agent-pipeline/requests/{request}: left out")]
    runner.team.alice.git("push", "-q", "origin", f":refs/agent-pipeline/requests/{request}")


def test_a_manifest_that_is_not_the_change(court: Court) -> None:
    runner = court.runner
    tree = runner.built({"calc.py": FILE, "evil.py": FILE})
    changes = court.shown(tree)
    hidden = court.failed(runner.propose(tree, changes=changes[:1]))
    assert set(hidden) == {"changes"}
    assert "does not list: evil.py" in hidden["changes"]
    other = (dataclasses.replace(changes[0], sha256="0" * 64), *changes[1:])
    assert "differ about calc.py" in court.failed(runner.propose(tree, changes=other))["changes"]
    invented = (*changes, dataclasses.replace(changes[1], path="zzz.py"))
    assert "does not change: zzz.py" in court.failed(runner.propose(tree, changes=invented))["changes"]
    twice = (*changes, changes[1])
    assert set(court.failed(runner.propose(tree, changes=twice))) & {"changes", "documents"}


FACTS: dict[str, tuple[dict[str, Any], str]] = {
    "another task": ({"task": "0" * 64}, "request"),
    "another kind": ({"kind": "fix"}, "request"),
    "a wider path": ({"only": ("**",)}, "request"),
    "another requester": ({"requester": "rosa"}, "request"),
    "another policy": ({"policy": "0" * 64}, "policy"),
    "a newer trust root": ({"root_version": 9}, "root version"),
    "another repository": ({"repository": "https://example.org/fork"}, "repository"),
    "another target": ({"target": "refs/heads/other"}, "target"),
    "somebody else's branch": ({"staging": f"refs/heads/agent/{'a' * 16}"}, "staging branch"),
    "a failed run": ({"outcome": "seconds"}, "transcript"),
    "another transcript": ({"transcript": "0" * 64}, "transcript"),
    "a run that ended before it began": ({"started": "2999-01-01T00:00:00Z"}, "times"),
    "a tree of its own": ({"tree": "1" * 40}, "manifest"),
    "a base of its own": ({"base_tree": "1" * 40}, "base"),
}  # fmt: skip


@pytest.mark.parametrize("what", FACTS)
def test_a_provenance_that_says_something_else_than_the_request(court: Court, what: str) -> None:
    facts, step = FACTS[what]
    failed = court.failed(court.runner.propose(court.runner.built({"calc.py": FILE}), facts=facts))
    assert step in failed, failed


def asked(runner: HostileRunner, what: str) -> Any:
    weak = runner.team.alice.git("rev-parse", "refs/heads/weak").strip()
    return {
        "another branch": lambda: runner.request(target="refs/heads/weak", base=weak),
        "a strange branch": lambda: runner.request(target="refs/heads/-x"),
        "a branch like an option": lambda: runner.request(target="refs/heads/--upload-pack=touch"),
        "a branch outside": lambda: runner.request(target="refs/heads/../../config"),
        "the branch of CI": lambda: runner.request(target=f"refs/heads/agent/{'a' * 16}"),
        "an old base": lambda: runner.request(base=runner.clone.parents(runner.base)[0]),
        "more than the policy allows": lambda: runner.request(limits=Limits(10**9, 10**9, "1000000")),
        "an engine that nobody allowed": lambda: runner.request(engine=EngineChoice("recorded", command=("true",))),
        "narrower than what changed": lambda: runner.request(only=("docs/",)),
        "no pattern": lambda: runner.request(only=("[z-a]",)),
        "a trial": lambda: runner.request(trial=True),
        "in another's name": lambda: runner.request(requester="rosa"),
    }[what]()


ASKED = {
    "another branch": "target", "a strange branch": "target", "a branch like an option": "target",
    "a branch outside": "target", "the branch of CI": "target", "more than the policy allows": "allowed request",
    "an engine that nobody allowed": "allowed request", "narrower than what changed": "allowed paths",
    "no pattern": "allowed paths", "a trial": "trial", "in another's name": "requester",
}  # fmt: skip


@pytest.fixture(scope="module")
def weak(court: Court) -> None:
    """A branch beside main with rules of its own, which ask for nothing."""
    alice = court.runner.team.alice
    alice.git("checkout", "-q", "-b", "weak")
    path = alice.clone / ".agent-pipeline" / "policy.yaml"
    path.write_text(path.read_text().replace("reviewers: 1", "reviewers: 0").replace("persons: 3", "persons: 1"))
    alice.git("commit", "-q", "-am", "Weaker rules")
    alice.git("push", "-q", "origin", "weak")
    alice.git("checkout", "-q", "main")


@pytest.mark.usefixtures("weak")
@pytest.mark.parametrize("what", ASKED)
def test_a_request_that_asks_for_what_nobody_may(court: Court, what: str) -> None:
    runner = court.runner
    request = asked(runner, what)
    tree = runner.built({"calc.py": FILE}, request.base)
    failed = court.failed(runner.propose(tree, request=request))
    assert ASKED[what] in failed, failed


def test_ci_rejects_for_good_what_only_a_replay_can_refuse(at: At) -> None:
    team = at("ready")
    runner = HostileRunner(team)
    court = open_court(team)
    upper = court.with_entry("CALC.py", f"100644:{court.blob(b'x = 1')}")
    wide = court.with_entry("Tests/test_more.py", f"100644:{court.blob(b'')}")
    moved = runner.made(lambda files: files.update({"tests": f"100644:{court.blob(b'x')}"}))
    asked_for = {
        runner.propose(upper): "the same file as `calc.py`",
        runner.propose(wide): "the same file as `tests`",
        runner.propose(moved, request=runner.request(kind="fix")): "",
    }
    before = team.tip()
    code, rows = team.ci_run()
    assert code == 1
    for request, word in asked_for.items():
        assert rows[request]["verdict"] == "failed", rows[request]
        assert word in str(rows[request]["checks"]), rows[request]
        assert team.rosa.run("show", request, "--json").document["state"] == "rejected"
    assert team.ci_run() == (0, {})
    assert team.tip() == before


def test_the_command_line_refuses_targets_before_anything_runs(at: At) -> None:
    team = at("ready")
    team.alice.git("push", "-q", "origin", "main:refs/heads/other")
    line = (
        "--kind",
        "refactor",
        "--engine",
        "command",
        "--sandbox",
        "bubblewrap",
        "--",
        "python",
        "-c",
        "open('x','w')",
    )
    odd = ("-x", "a..b", "HEAD", "refs/heads/refs/heads/main", "../../config", f"{MAIN}@{{1}}", "x\x1b[2J")
    for target in ("other", *odd):
        done = team.alice.run("request", "x", f"--target={target}", *line)
        assert done.code in (1, 2), str(done)
        assert "\x1b" not in done.out + done.err
    code, rows = team.ci_run()
    assert {row["verdict"] for row in rows.values()} == {"failed"}
    assert code == 1
    assert team.ci_run() == (0, {})
