"""Starting the signing child."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import agent_pipeline
from agent_pipeline import errors, process
from agent_pipeline.signing.jobs import PASSPHRASE

_SECONDS: Final = 60
_ROOM: Final = "agent_pipeline.signing"


def ask(document: dict[str, Any]) -> dict[str, Any]:
    """Return the child's answer. Raises the child's own error, or `UnavailableError` when there is no answer.

    The child's module path is ours alone: it starts in `/` with `-P`, so that no file of the repository at hand can
    pass for a module. Its environment holds what it needs and nothing of ours.
    """
    argv = (sys.executable, "-P", "-m", _ROOM)
    done = process.run(argv, env=environment(), cwd=Path("/"), stdin=json.dumps(document).encode(), timeout=_SECONDS)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise errors.UnavailableError(f"the signing process did not answer: {done.explain()}") from error
    if "error" in answer:
        kind = getattr(errors, str(answer["kind"]), errors.UnavailableError)
        raise kind(answer["error"], hint=answer["hint"])
    return answer


def environment() -> dict[str, str]:
    """Return the child's whole environment."""
    return process.inherited("HOME", PASSPHRASE) | {
        "PYTHONPATH": str(Path(agent_pipeline.__file__).resolve().parent.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
    }
