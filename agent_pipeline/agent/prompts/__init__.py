"""The frozen prompts: `<name>@<version>.md`, each named in `frozen.json` with the SHA-256 of its text.

A frozen prompt never changes; a better one gets the next version. A file that is not what the registry says is refused,
so that a name in a provenance always stands for one text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agent_pipeline.documents import strict
from agent_pipeline.errors import CheckError, UsageError

_FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class FrozenPrompt:
    """`name` is NAME@VERSION, `sha256` that of the text's UTF-8 bytes."""

    name: str
    sha256: str
    text: str


@cache
def registry() -> dict[str, str]:
    """Return the SHA-256 of every frozen prompt by NAME@VERSION."""
    known: dict[str, str] = json.loads((_FOLDER / "frozen.json").read_bytes())
    return known


def load(name: str) -> FrozenPrompt:
    """Return the prompt. Raises `UsageError` for an unknown one, `CheckError` for one that was tampered with."""
    expected = registry().get(name)
    if expected is None:
        raise UsageError(f"there is no prompt `{name}`", hint=f"there are: {', '.join(sorted(registry()))}")
    data = (_FOLDER / f"{name}.md").read_bytes()
    if strict.sha256(data) != expected:
        raise CheckError(
            f"the frozen prompt `{name}` is not the one that was frozen", hint="reinstall, or give it the next version"
        )
    return FrozenPrompt(name, expected, data.decode("utf-8"))


def newest(kind: str) -> str:
    """Return the NAME@VERSION of the newest prompt for a kind of request. Raises `UsageError` when there is none."""
    versions = [int(name.split("@")[1]) for name in registry() if name.split("@")[0] == kind]
    if not versions:
        raise UsageError(f"there is no prompt for requests of the kind `{kind}`")
    return f"{kind}@{max(versions)}"
