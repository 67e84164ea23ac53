"""What a policy allows, and what no policy can allow."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from agent_pipeline import process
from agent_pipeline.documents.policy import Globs
from agent_pipeline.documents.proposal import Change
from agent_pipeline.errors import PolicyError, SchemaError
from agent_pipeline.policy import load, rules, starter

TEXT = starter.render(
    starter.Start(("python", "-m", "pytest"), 3, ("tests/test_a.py::test_old",), (), {}, ("fix@1",), "project")
)
POLICY = load(TEXT)


# Of each default pattern one path that it withholds, at the top and below.
WITHHELD = (
    ".env",
    ".env.local",
    "server.pem",
    "server.key",
    "store.p12",
    "store.pfx",
    "release.jks",
    "debug.keystore",
    "putty.ppk",
    "passwords.kdbx",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "id_ecdsa_sk",
    "id_ed25519_sk",
    ".ssh/config",
    ".gnupg/private-keys-v1.d/1.key",
    ".gnupg/secring.gpg",
    ".netrc",
    "_netrc",
    ".pgpass",
    ".git-credentials",
    ".npmrc",
    ".pypirc",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".dockercfg",
    ".docker/config.json",
    ".kube/config",
    ".kube/cache/discovery/a",
    ".aws/credentials",
    ".azure/accessTokens.json",
    ".config/gcloud/application_default_credentials.json",
    ".config/gcloud/legacy_credentials/a/adc.json",
    ".vault-token",
    "prod.tfvars",
    "prod.auto.tfvars.json",
    "terraform.tfstate",
    "terraform.tfstate.backup",
    "secrets/x",
    "secrets/.env.example",
)

READABLE = (
    "src/a.py",
    "docs/environment.md",
    "tests/test_a.py",
    "keys.py",
    ".env.example",
    ".env.sample",
    ".env.template",
    ".env.dist",
    "id_rsa.pub",
    "id_ed25519_sk.pub",
    "keys/release.pub",
    ".cargo/config.toml",
    ".docker/Dockerfile",
    ".config/app.toml",
    "main.tf",
    "terraform.tfvars.example",
    "keystore.py",
    "environment/x.py",
)


@pytest.mark.parametrize("path", WITHHELD)
def test_secrets_are_withheld_by_default(path: str) -> None:
    for place in (path, f"deep/er/{path}", path.upper(), f"Deep/{path.upper()}"):
        assert not rules.may_read(POLICY, place), place


@pytest.mark.parametrize("path", READABLE)
def test_ordinary_files_examples_and_public_keys_may_be_read(path: str) -> None:
    for place in (path, f"deep/er/{path}"):
        assert rules.may_read(POLICY, place), place


def test_each_default_pattern_withholds_something_that_no_other_does() -> None:
    for pattern in (one for one in starter.SECRETS if not one.startswith("!")):
        rest = tuple(one for one in starter.SECRETS if one != pattern)
        alone = [path for path in WITHHELD if rules.matches((pattern,), path) and not rules.matches(rest, path)]
        assert alone, pattern


REACHING = [
    (("private/", "!.env.example"), "private/.env.example", True),
    (("private/", "!.env.example"), "PRIVATE/.env.example", True),
    (("private/", "!.env.example"), "a/private/b/.env.example", True),
    (("private/", "!.env.example"), ".env.example", False),
    (("/x", "!x/y"), "x/y", True),
    (("*", "!*.py"), "a/b.py", True),
    (("*", "!*.py"), "b.py", False),
    (("a/**", "!a/b"), "a/b", False),
    (("a/**", "!a/b"), "a/c", True),
    (("a/**", "!a/b"), "a/b/c", True),
    (("a/*", "!a/b/"), "a/b/c", False),
    (("*.py", "!a.py"), "a.py", False),
    (("b", "!b/"), "b/c", False),
]


@pytest.mark.parametrize(("deny", "path", "denied"), REACHING)
def test_no_exception_reaches_into_a_denied_directory(
    tmp_path: Path, deny: tuple[str, ...], path: str, *, denied: bool
) -> None:
    """As Git has it of what is ignored, and Git is asked, too (but for letters, which it tells apart)."""
    policy = dataclasses.replace(POLICY, paths=dataclasses.replace(POLICY.paths, read=Globs(("**",), deny)))
    assert rules.may_read(policy, path) is not denied
    if path == path.casefold():
        git = ["git", "-c", "core.excludesFile=/dev/null"]
        process.run([*git, "init", "--quiet", "."], env=process.inherited("PATH"), cwd=tmp_path)
        (tmp_path / ".gitignore").write_text("\n".join(deny) + "\n")
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
        asked = process.run([*git, "check-ignore", "-q", path], env=process.inherited("PATH"), cwd=tmp_path)
        assert (asked.code == 0) is denied


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
