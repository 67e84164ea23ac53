"""The policy that `init` writes: careful defaults, each with its reason beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from agent_pipeline.frozen import frozen

# What agents never see: private keys, and where the usual tools keep credentials. Examples and public keys are not
# meant. What comes later has the last word: in `secrets` the examples are withheld too, which takes `**` behind it.
SECRETS = (
    ".env",
    ".env.*",
    "!.env.example",
    "!.env.sample",
    "!.env.template",
    "!.env.dist",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.ppk",
    "*.kdbx",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "id_*_sk",  # keys that need a token
    "**/.ssh/**",
    "**/.gnupg/**",
    ".netrc",
    "_netrc",
    ".pgpass",
    ".git-credentials",
    ".npmrc",
    ".pypirc",
    "**/.cargo/credentials*",
    ".dockercfg",
    "**/.docker/config.json",
    "**/.kube/**",
    "**/.aws/**",
    "**/.azure/**",
    "**/.config/gcloud/**",
    ".vault-token",
    "*.tfvars",
    "*.tfvars.json",
    "*.tfstate",
    "*.tfstate.*",
    "**/secrets/**",
)

# What runs later, elsewhere, with rights of its own: a person changes these, not an agent.
PROTECTED = (
    ".github/",
    ".gitlab-ci.yml",
    ".gitlab/",
    ".circleci/",
    "Jenkinsfile",
    ".pre-commit-config.yaml",
    ".husky/",
    "lefthook.yml",
    "conftest.py",
    "pytest.ini",
    ".pytest.ini",
    "pytest.toml",
    ".pytest.toml",
    ".coveragerc",
    "tox.ini",
    "noxfile.py",
    "setup.py",
    "setup.cfg",
    "pyproject.toml",
    "hatch.toml",
    "hatch_build.py",
    "sitecustomize.py",
    "usercustomize.py",
    "*.pth",
    "*.dist-info/",  # pytest loads plugins that are named there, and in the next
    "*.egg-info/",
    "pytest.py",  # found before the test runner itself, as are the next
    "pytest/",
    "_pytest/",
    "pluggy.py",
    "pluggy/",
    "agent_pipeline_reporter.py",
    "HEAD",  # with a file of this name a directory becomes a Git repository, with a configuration that Git obeys
    ".envrc",
    ".vscode/",
    ".idea/",
    ".devcontainer/",
    ".mcp.json",
    "CLAUDE.md",
    "AGENTS.md",
    ".claude/",
    ".codex/",
    "Dockerfile",
    "CODEOWNERS",
    "LICENSE",
    "SECURITY.md",
)

TESTS = ("tests/", "test/", "testing/", "test_*.py", "*_test.py", "tests.py")

# What tools leave behind; only files that the base does not have are ever left out.
LEFTOVERS = (
    "__pycache__/",
    "*.pyc",
    ".pytest_cache/",
    ".mypy_cache/",
    ".ruff_cache/",
    ".hypothesis/",
    ".coverage",
    "*.egg-info/",
    "build/",
    "*.orig",
)

MODELS = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5")
ENDPOINTS = ("https://api.anthropic.com",)


@frozen
class Start:
    """What `init` found out: the check's argv, how long it took, what fails on the base, how to make it importable."""

    check: tuple[str, ...]
    seconds: int
    known_failures: tuple[str, ...]
    setup: tuple[tuple[str, ...], ...]
    env: Mapping[str, str]
    prompts: tuple[str, ...]
    image: str
    reports: bool = False


def render(start: Start) -> bytes:
    """Return the starter policy as YAML with comments."""
    quick = max(60, 4 * start.seconds)
    full = max(300, 10 * start.seconds)
    return f"""\
# What agents may read, change, run and spend here, and what a change needs to land.
# Default deny, and deny wins. The form: schemas/policy.schema.json. `agent-pipeline policy check` checks it.
version: 1

# claude: a model through policed tools; command: any command inside the sandbox; recorded: a recording, for demos.
engines: [claude, command]
# bash can be added; run_check and the editor are enough for most.
tools: [str_replace_based_edit_tool, run_check, submit_proposal]

paths:                 # patterns as in gitignore files
  read:
    allow: ["**"]
    deny:              # withheld from every sandbox
{_items(SECRETS, 6)}
  write:
    allow: ["**"]
    deny:              # what runs later, elsewhere, with rights of its own
{_items(PROTECTED, 6)}
  tests:               # a fix must bring a test that fails without it
{_items(TESTS, 4)}
  ignore:              # new files that tools leave behind
{_items(LEFTOVERS, 4)}

limits: {{steps: 60, seconds: 1800, usd: "5", tokens: 3000000, files: 50, bytes: 1000000}}

models:
  allow: {_flow(MODELS)}
  endpoints: {_flow(ENDPOINTS)}
  prompts: {_flow(start.prompts)}

sandbox:
  backends: [docker, bubblewrap]
  image: {start.image}
  memory_mb: 2048
  pids: 256
  cpus: "2"
  disk_mb: 1024
  require: []          # of memory, pids, cpu, swap, sockets, disk: what the host must enforce, or nothing starts

checks:
  quick:               # what the agent may run
    run: {_flow(start.check)}
    seconds: {quick}
  full:                # what CI runs; tests that failed before may fail, no others
    run: {_flow(start.check)}
    seconds: {full}
    known_failures:{_block(start.known_failures, 6)}
    reports: {str(start.reports).lower()}        # each test is reported; a run without a whole report fails

setup:                 # makes the project importable, offline; {{version}} is what Git says of the base
  run:{_block([_Raw(_flow(argv)) for argv in start.setup], 4)}
  env: {_mapping(start.env)}
  seconds: 300

landing:
  proofs:
    fix: [signed, replayed, regression]
    feature: [signed, replayed]
    refactor: [signed, replayed]
    tests: [signed, replayed]
    deps: [signed, replayed]
    docs: [signed, replayed]
  reviewers: 0         # people who approve; a team wants 1 or more
  persons: 1           # distinct people whose keys signed; a team wants 2 or 3
  approval_days: 14
""".encode()


class _Raw(str):
    """YAML that is already written."""

    __slots__ = ()


def _quote(text: str) -> str:
    """Return `text` as a YAML scalar; JSON strings are YAML."""
    return text if isinstance(text, _Raw) else json.dumps(text, ensure_ascii=False)


def _flow(items: Sequence[str]) -> str:
    return "[" + ", ".join(_quote(item) for item in items) + "]"


def _items(items: Sequence[str], indent: int) -> str:
    return "\n".join(f"{' ' * indent}- {_quote(item)}" for item in items)


def _block(items: Sequence[str], indent: int) -> str:
    return "\n" + _items(items, indent) if items else " []"


def _mapping(values: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{name}: {_quote(value)}" for name, value in sorted(values.items())) + "}"
