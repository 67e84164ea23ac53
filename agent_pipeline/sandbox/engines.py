"""Which sandbox engine is used: the one that was asked for, else Docker where it answers, else bubblewrap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent_pipeline.config import Config
from agent_pipeline.errors import PolicyError, SandboxError, UsageError
from agent_pipeline.sandbox.contract import Engine

NAMES: Final = ("docker", "bubblewrap")


def engine(name: str, config: Config) -> Engine:
    """Return the engine `name`, without asking whether it is there. Raises `UsageError` for an unknown name."""
    if name == "docker":
        from agent_pipeline.sandbox.docker import Docker  # noqa: PLC0415 - the command line starts without any engine

        return Docker(config)
    if name == "bubblewrap":
        from agent_pipeline.sandbox.bubblewrap import Bubblewrap  # noqa: PLC0415 - the same

        return Bubblewrap(config)
    raise UsageError(f"there is no sandbox engine {name!r}", hint=f"the engines are {' and '.join(NAMES)}")


def choose(config: Config, allowed: Sequence[str], wanted: str | None) -> Engine:
    """Return an engine that works here and is `allowed` by the policy; `wanted` narrows it to one.

    Raises `PolicyError` when `wanted` is not allowed, `SandboxError` with each engine's reason when none works.
    """
    if wanted is not None and wanted in NAMES and wanted not in allowed:
        raise PolicyError(
            f"the policy does not allow the sandbox engine {wanted}",
            hint=f"it allows {', '.join(allowed) or 'none'} (`sandbox.backends`)",
        )
    names = [name for name in NAMES if name in allowed] if wanted is None else [wanted]
    reasons = []
    for name in names:
        candidate = engine(name, config)
        reason = candidate.available()
        if reason is None:
            return candidate
        reasons.append(f"{name}: {reason}")
    raise SandboxError(
        "no sandbox engine works here" + "".join(f"\n  {reason}" for reason in reasons),
        hint="start Docker or install bubblewrap; `agent-pipeline doctor` says more",
    )
