"""What a policy allows, and what no policy can allow."""

from __future__ import annotations

import pytest

from agent_pipeline.documents.proposal import Change
from agent_pipeline.errors import PolicyError, SchemaError
from agent_pipeline.policy import load, rules, starter

TEXT = starter.render(
    starter.Start(("python", "-m", "pytest"), 3, ("tests/test_a.py::test_old",), (), {}, ("fix@1",), "project")
)
POLICY = load(TEXT)


@pytest.mark.parametrize(
    "path", [".env", "deep/er/.env.local", "server.pem", "a/id_rsa", ".aws/credentials", "secrets/x"]
)
def test_secrets_are_withheld_by_default(path: str) -> None:
    assert not rules.may_read(POLICY, path)


@pytest.mark.parametrize("path", ["src/a.py", "docs/environment.md", "tests/test_a.py", "keys.py"])
def test_ordinary_files_may_be_read(path: str) -> None:
    assert rules.may_read(POLICY, path)


@pytest.mark.parametrize(
    "path",
    [
        ".github/workflows/ci.yml",
        "setup.py",
        "sub/setup.py",
        "conftest.py",
        "tests/conftest.py",
        "pyproject.toml",
        "x.pth",
    ],
)
def test_what_runs_elsewhere_is_protected(path: str) -> None:
    assert "denies" in str(rules.may_write(POLICY, path))


@pytest.mark.parametrize("path", [".agent-pipeline/policy.yaml", ".git/config", ".gitmodules", "a/.gitattributes"])
def test_no_policy_lets_an_agent_change_the_rules(path: str) -> None:
    assert "never changed" in str(rules.may_write(POLICY, path))


def test_only_narrows() -> None:
    assert rules.may_write(POLICY, "src/a.py", ("src/",)) is None
    assert "outside" in str(rules.may_write(POLICY, "docs/a.md", ("src/",)))
    assert "denies" in str(rules.may_write(POLICY, "setup.py", ("setup.py",)))


def put(path: str, size: int = 10, **kwargs: str) -> Change:
    return Change(
        path,
        "put",
        kwargs.get("mode", "100644"),
        "0" * 64,
        size,
        "1" * 40,
        kwargs.get("base_object"),
        kwargs.get("base_mode"),
    )


def test_too_many_files_and_too_many_bytes_are_refused() -> None:
    many = rules.check_changes(POLICY, [put(f"src/{n}.py") for n in range(51)])
    large = rules.check_changes(POLICY, [put("src/a.py", 1_000_001)])
    assert "51 files change" in many[0]
    assert "1000001 bytes" in large[0]


def test_links_and_new_execute_bits_are_refused() -> None:
    link = rules.check_changes(POLICY, [put("src/a.py", base_object="2" * 40, base_mode="120000")])
    bit = rules.check_changes(POLICY, [put("src/a.py", mode="100755", base_object="2" * 40, base_mode="100644")])
    assert "link" in link[0]
    assert "executable" in bit[0]


def test_limits_are_never_wider_than_the_policys() -> None:
    limits = rules.narrow(POLICY, 1000, 99_999, "100")
    assert (limits.steps, limits.seconds, limits.usd) == (60, 1800, "5")
    assert rules.narrow(POLICY, 3, 5, "0.5").usd == "0.5"


@pytest.mark.parametrize(
    ("defect", "said"),
    [
        (b"version: 1\nversion: 1\n", "twice"),
        (b"a: &x [1]\nb: *x\n", "aliases"),
        (b"- 1\n", "not a mapping"),
        (b"a: !!python/object/apply:os.system [true]\n", "tags"),
        (b"\xff\xfe", "not readable"),
        (b"[" * 5000, "brackets"),
        (b"version: 2\n", "policy"),
    ],
)
def test_what_is_not_plain_yaml_of_the_schema_is_refused(defect: bytes, said: str) -> None:
    with pytest.raises(SchemaError, match=said):
        load(defect)


def test_the_starter_policy_says_that_one_person_is_alone() -> None:
    assert any("one person" in line for line in rules.warnings(POLICY))
    assert POLICY.checks["full"].known_failures == ("tests/test_a.py::test_old",)


@pytest.mark.parametrize("pattern", ["[[:upper:]]*", "[[a-z]", "[a&&b]", "[a--z]", "[a||b]", "[a~~b]"])
def test_a_set_that_git_and_python_read_differently_is_no_pattern(pattern: str) -> None:
    with pytest.raises(PolicyError, match="set"):
        rules.matches((pattern,), "A")
