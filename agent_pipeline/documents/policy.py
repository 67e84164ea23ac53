"""The policy of a repository: what agents may read, change, run and spend, and what a change needs to land.

Default deny, and deny wins. The file is `.agent-pipeline/policy.yaml` on the protected branch; `agent_pipeline.policy`
reads it and decides.
"""

from __future__ import annotations

from typing import ClassVar

from agent_pipeline.documents.form import Document
from agent_pipeline.frozen import frozen

PATH = ".agent-pipeline/policy.yaml"
QUICK, FULL = "quick", "full"


@frozen
class Globs:
    """Path patterns as in gitignore files, on normalised paths.

    Allowed if one of `allow` and none of `deny` matches.
    """

    allow: tuple[str, ...]
    deny: tuple[str, ...]


@frozen
class Paths:
    """What the agent may `read` and `write`; `tests` names test files; `ignore` names what tools leave behind."""

    read: Globs
    write: Globs
    tests: tuple[str, ...]
    ignore: tuple[str, ...]


@frozen
class PolicyLimits:
    """The most that one run may use, and the most that one proposal may change. `usd` is a decimal string."""

    steps: int
    seconds: int
    usd: str
    tokens: int
    files: int
    bytes: int


@frozen
class Models:
    """Model ids, endpoint origins and prompts (`NAME@VERSION`) that may be used."""

    allow: tuple[str, ...]
    endpoints: tuple[str, ...]
    prompts: tuple[str, ...]


@frozen
class SandboxPolicy:
    """Where code runs: backends that may be used, the image by name in the images lock, and its bounds.

    `require` lists bounds that must be enforced by the host (memory, pids, cpu, swap, sockets, disk): otherwise nothing
    starts.
    """

    backends: tuple[str, ...]
    image: str
    memory_mb: int
    pids: int
    cpus: str
    disk_mb: int
    require: tuple[str, ...]
    runtime: str | None = None


@frozen
class CheckPolicy:
    """A named check: `run` is an argv, never a shell line unless it says so.

    With `reports`, it runs pytest and our reporter sees each test: a run without a whole report then fails.

    `known_failures` are tests that fail on the base.
    """

    run: tuple[str, ...]
    seconds: int
    known_failures: tuple[str, ...] = ()
    reports: bool = False


@frozen
class Setup:
    """How the project is made importable in the sandbox, offline: argvs run in order, with `env` added."""

    run: tuple[tuple[str, ...], ...]
    env: dict[str, str]
    seconds: int


@frozen
class Landing:
    """What a change needs: proofs by kind of request, reviewers and distinct persons."""

    proofs: dict[str, tuple[str, ...]]
    reviewers: int
    persons: int
    approval_days: int


@frozen
class Policy(Document):
    """A whole policy. `engines` may be claude, command and recorded; `tools` are what the model may call."""

    STEM: ClassVar[str] = "policy"

    version: int
    engines: tuple[str, ...]
    tools: tuple[str, ...]
    paths: Paths
    limits: PolicyLimits
    models: Models
    sandbox: SandboxPolicy
    checks: dict[str, CheckPolicy]
    setup: Setup
    landing: Landing
