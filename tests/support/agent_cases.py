"""A small policy and requests under it, for tests of runs."""

from __future__ import annotations

from typing import Any, Protocol

from support.messages_peer import KEY, MODEL

from agent_pipeline.agent.job import Job
from agent_pipeline.documents.policy import Policy
from agent_pipeline.documents.request import EngineChoice, Limits, Request

FILES = {
    "src/add.py": "def add(a, b):\n    return a - b\n",
    "tests/test_add.py": "from src.add import add\n\n\ndef test_add():\n    assert add(0, 0) == 0\n",
    "README": "adds\n",
}


class Changing(Protocol):
    """What knows which of its files changed."""

    def changed(self) -> tuple[str, ...]: ...


class Endpoint(Protocol):
    """What can be asked at a URL."""

    @property
    def url(self) -> str: ...


TOOLS = ("str_replace_based_edit_tool", "bash", "run_check", "submit_proposal")


def policy(**changes: Any) -> Policy:
    """A policy that allows everything below src and tests."""
    value: dict[str, Any] = {
        "version": 1,
        "engines": ["claude", "command", "recorded"],
        "tools": list(TOOLS),
        "paths": {
            "read": {"allow": ["*"], "deny": []},
            "write": {"allow": ["src/", "tests/"], "deny": ["src/vendored/"]},
            "tests": ["tests/"],
            "ignore": ["*.pyc"],
        },
        "limits": {"steps": 50, "seconds": 60, "usd": "5", "tokens": 1_000_000, "files": 20, "bytes": 100_000},
        "models": {"allow": [MODEL], "endpoints": ["https://api.anthropic.com"], "prompts": ["fix@1"]},
        "sandbox": {
            "backends": ["docker", "bubblewrap"],
            "image": "python",
            "memory_mb": 512,
            "pids": 64,
            "cpus": "1",
            "disk_mb": 64,
            "require": [],
        },
        "checks": {
            "quick": {"run": ["python3", "-c", "from src.add import add; assert add(2, 2) == 4"], "seconds": 20},
            "full": {"run": ["python3", "-m", "compileall", "-q", "src"], "seconds": 20, "known_failures": ["old"]},
        },
        "setup": {"run": [], "env": {}, "seconds": 10},
        "landing": {"proofs": {}, "reviewers": 0, "persons": 1, "approval_days": 7},
    }
    value["landing"]["proofs"] = {
        kind: ["signed", "replayed"] for kind in ("fix", "feature", "refactor", "tests", "deps", "docs")
    }
    return Policy.from_dict(value | changes)


def request(engine: EngineChoice | None = None, **changes: Any) -> Request:
    """A request to mend `add`."""
    value: dict[str, Any] = {
        "version": 1,
        "nonce": "0" * 32,
        "repository": "https://example.org/add.git",
        "target": "refs/heads/main",
        "base": "1" * 40,
        "kind": "fix",
        "text": "add(2, 2) gives 0, it should give 4",
        "only": (),
        "engine": engine or EngineChoice("claude", model=MODEL, prompt="fix@1"),
        "limits": Limits(20, 30, "1"),
        "sandbox": "bubblewrap",
        "requester": "ada",
        "created": "2026-11-01T00:00:00Z",
        "trial": False,
    }
    return Request(**(value | changes))


def claude_job(peer: Endpoint, sandbox: Changing, **changes: Any) -> Job:
    """A job for the engine claude at `peer`, whose endpoint the policy lists."""
    models = {"allow": [MODEL], "endpoints": [peer.url], "prompts": ["fix@1"]}
    value: dict[str, Any] = {
        "request": request(),
        "policy": policy(models=models),
        "changed": sandbox.changed,
        "api_key": KEY,
        "base_url": peer.url,
    }
    return Job(**(value | changes))


def job(sandbox: Changing, engine: EngineChoice, **changes: Any) -> Job:
    """A job for an engine that asks no model."""
    value: dict[str, Any] = {"request": request(engine), "policy": policy(), "changed": sandbox.changed}
    return Job(**(value | changes))
