"""Questions to a loaded policy. Every answer is a reason, or None (or nothing) when it is allowed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING
from warnings import catch_warnings, simplefilter

from agent_pipeline.documents import paths
from agent_pipeline.documents.policy import Globs, Policy
from agent_pipeline.documents.proposal import PUT, Change
from agent_pipeline.documents.request import Limits, Request
from agent_pipeline.errors import PolicyError

if TYPE_CHECKING:
    import pathspec

# Whatever a policy says: no proposal changes the rules by which it is judged, nor Git's own files.
ALWAYS_DENIED = (
    ".agent-pipeline/**",
    ".git/**",
    ".gitmodules",
    ".gitattributes",
    "**/.gitattributes",
)

MAX_STARS, MAX_DEEP, MAX_WILD = 3, 2, 4


@lru_cache(maxsize=64)
def _spec(patterns: tuple[str, ...]) -> pathspec.GitIgnoreSpec:
    import pathspec  # noqa: PLC0415 - 10 ms, when the first path is judged

    for pattern in patterns:
        check_bounded(pattern)
    try:
        with catch_warnings():  # `[[:upper:]]` and `[a&&b]`: Git and Python read them differently
            simplefilter("error", FutureWarning)
            return pathspec.GitIgnoreSpec.from_lines(patterns)
    except (ValueError, re.error, FutureWarning) as error:  # `only` comes from a request: anybody's words
        raise PolicyError(f"{error}", hint="patterns are written as in a gitignore file") from error


def check_bounded(pattern: str) -> None:
    """Raise `PolicyError` for a pattern that could take for ever: they become regular expressions that backtrack.

    Every star multiplies the ways to match by the length of the path, in one directory's name or in several.
    """
    parts = pattern.split("/")
    stars = sum(part.count("*") for part in parts if part != "**")
    deep = parts.count("**")
    if stars > MAX_STARS or deep > MAX_DEEP or stars + deep > MAX_WILD:
        raise PolicyError(
            f"the pattern {pattern[:80]!r} has more than {MAX_STARS} `*`, {MAX_DEEP} `**` or {MAX_WILD} of both",
            hint="write several simpler patterns",
        )


def matches(patterns: Iterable[str], path: str) -> bool:
    """Return whether `path` (relative, `/`-separated) matches one of `patterns`, which read as in a gitignore file."""
    return _spec(tuple(patterns)).match_file(path)


def _denied(patterns: tuple[str, ...], path: str) -> bool:
    """Return whether a deny pattern means `path`, or a directory that it lies in: what is in one stays denied.

    As Git has it of ignored directories: no `!pattern` reaches into them.
    """
    if _means(patterns, path):
        return True
    return any(pattern.startswith("!") for pattern in patterns) and _denied_folder(patterns, path.rpartition("/")[0])


@lru_cache(maxsize=65_536)
def _denied_folder(patterns: tuple[str, ...], folder: str) -> bool:
    if not folder:
        return False
    return _means(_of_folders(patterns), f"{folder}/") or _denied_folder(patterns, folder.rpartition("/")[0])


@lru_cache(maxsize=64)
def _of_folders(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Return what `patterns` say of directories: `a/**` means what is in `a`, so `!a/b` reaches there."""
    return tuple(pattern[:-1] if pattern.endswith("/**") else pattern for pattern in patterns)


def _means(patterns: tuple[str, ...], path: str) -> bool:
    """Return whether patterns mean `path`, on any file system: `.VSCode/tasks.json` is `.vscode/tasks.json`."""
    folded, key = _folded(patterns), paths.collision_key(path)
    return matches(patterns, path) or ((folded, key) != (patterns, path) and matches(folded, key))


@lru_cache(maxsize=64)
def _folded(patterns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(pattern.casefold() for pattern in patterns)


def _allowed(globs: Globs, path: str) -> bool:
    return matches(globs.allow, path) and not _denied(globs.deny, path)


def may_read(policy: Policy, path: str) -> bool:
    """Return whether the agent may see `path` of the base."""
    return _allowed(policy.paths.read, path)


def read_scope(policy: Policy) -> str:
    """Return a name for what `may_read` lets through: policies that differ in it have different names."""
    globs = policy.paths.read
    return hashlib.sha256(json.dumps([list(globs.allow), list(globs.deny)]).encode()).hexdigest()


def may_write(policy: Policy, path: str, only: Sequence[str] = ()) -> str | None:
    """Return None when the agent may change `path`, else the reason why not. `only` is the request's own narrowing."""
    if _denied(ALWAYS_DENIED, path):
        return f"`{path}` is never changed by an agent: it is among the rules by which a change is judged"
    if _denied(policy.paths.write.deny, path):
        return f"the policy denies changing `{path}` (paths.write.deny)"
    if not matches(policy.paths.write.allow, path):
        return f"the policy does not allow changing `{path}` (paths.write.allow)"
    if not may_read(policy, path):
        return f"`{path}` is withheld from agents (paths.read)"
    if only and not matches(only, path):
        return f"`{path}` is outside what the request allows (--only {' --only '.join(only)})"
    return None


def is_test(policy: Policy, path: str) -> bool:
    """Return whether `path` is a test file by the policy's `paths.tests`."""
    return matches(policy.paths.tests, path)


def check_changes(policy: Policy, changes: Sequence[Change], only: Sequence[str] = ()) -> list[str]:
    """Return every reason why this change is not allowed; empty when it is."""
    if len(changes) > policy.limits.files:
        return [f"{len(changes)} files change; the policy allows {policy.limits.files} (limits.files)"]
    reasons = [reason for change in changes if (reason := may_write(policy, change.path, only)) is not None]
    reasons += [
        f"`{change.path}` is new, and of what tools leave behind (paths.ignore)"
        for change in changes
        if change.op == PUT and change.base_object is None and matches(policy.paths.ignore, change.path)
    ]
    size = sum(change.size or 0 for change in changes)
    if size > policy.limits.bytes:
        reasons.append(f"the changed files have {size} bytes; the policy allows {policy.limits.bytes} (limits.bytes)")
    reasons += [
        f"`{change.path}` is a link or a submodule in the base and cannot be changed"
        for change in changes
        if change.base_mode in ("120000", "160000")
    ]
    reasons += [
        f"`{change.path}` becomes executable"
        for change in changes
        if change.op == PUT and change.mode == "100755" and change.base_mode not in ("100755", None)
    ]
    return reasons


def narrow(policy: Policy, steps: int | None, seconds: int | None, usd: str | None) -> Limits:
    """Return the limits of one run: what was asked, never more than the policy allows."""
    most = policy.limits
    asked = Decimal(usd) if usd is not None else Decimal(most.usd)
    return Limits(
        steps=min(steps or most.steps, most.steps),
        seconds=min(seconds or most.seconds, most.seconds),
        usd=str(min(asked, Decimal(most.usd))),
    )


def check_request(policy: Policy, request: Request) -> list[str]:
    """Return every reason why this request may not run; empty when it may."""
    reasons = []
    engine = request.engine
    if engine.name not in policy.engines:
        reasons.append(f"the policy does not allow the engine `{engine.name}` (engines)")
    if engine.model is not None and not matches_any(policy.models.allow, engine.model):
        reasons.append(f"the policy does not allow the model `{engine.model}` (models.allow)")
    if engine.prompt is not None and engine.prompt not in policy.models.prompts:
        reasons.append(f"the policy does not allow the prompt `{engine.prompt}` (models.prompts)")
    if request.sandbox not in policy.sandbox.backends:
        reasons.append(f"the policy does not allow the sandbox `{request.sandbox}` (sandbox.backends)")
    if request.limits.steps > policy.limits.steps or request.limits.seconds > policy.limits.seconds:
        reasons.append("the request's limits are wider than the policy's (limits)")
    if Decimal(request.limits.usd) > Decimal(policy.limits.usd):
        reasons.append("the request's money limit is wider than the policy's (limits.usd)")
    return reasons


def matches_any(allowed: Sequence[str], value: str) -> bool:
    """Return whether `value` is listed exactly; there are no patterns for models, prompts and endpoints."""
    return value in allowed


def endpoint_allowed(policy: Policy, origin: str) -> str | None:
    """Return None when the model's endpoint `origin` (scheme://host[:port]) is listed, else the reason."""
    if origin in policy.models.endpoints:
        return None
    return f"the policy does not list the endpoint {origin} (models.endpoints)"


def proofs_needed(policy: Policy, kind: str) -> tuple[str, ...]:
    """Return the proofs that a change of this kind needs to land, beside reviewers and persons."""
    return policy.landing.proofs[kind]


def warnings(policy: Policy) -> list[str]:
    """Return what a careful operator would want to hear about this policy."""
    said = []
    if policy.landing.reviewers == 0 and policy.landing.persons == 1:
        said.append("reviewers: 0 and persons: 1 - one person may land alone; every verdict will say so")
    said += [
        f"a `{kind}` lands without a replay: nothing would run its tests"
        for kind, proofs in sorted(policy.landing.proofs.items())
        if "replayed" not in proofs
    ]
    if "bash" in policy.tools:
        said.append("tools lists bash: the agent may run any command inside the sandbox")
    return said
