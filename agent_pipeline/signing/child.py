"""Starting the signing child."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import agent_pipeline
from agent_pipeline import errors, process
from agent_pipeline.signing import terminal
from agent_pipeline.signing.unlock import ASK_SECONDS, ASKPASS, DISPLAY, WrongPinError

_SECONDS: Final = 60
_ROOM: Final = "agent_pipeline.signing"
# What modules of tokens look at to find their own configuration; given to children that load one.
MODULE_VARIABLES: Final = ("SOFTHSM2_CONF", "OPENSC_CONF", "YUBIHSM_PKCS11_CONF", "P11_KIT_STRICT")


def ask(document: dict[str, Any], *, box: int, given: str = "", pass_fds: Sequence[int] = ()) -> dict[str, Any]:
    """Return the child's answer. Raises the child's own error, or `UnavailableError` when there is no answer.

    `box` holds the passphrase, `given` names who put it there; an empty one is filled when somebody types it. The
    child's module path is ours alone: it starts in `/` with `-P`, so that no file of the repository at hand can pass
    for a module. Its environment holds what it needs, nothing of ours and no secret; of our descriptors it gets the
    boxes and the terminal.
    """
    askpass = os.environ.get(ASKPASS) or None
    argv = (sys.executable, "-P", "-m", _ROOM)
    with terminal.held() as tty:
        ways = {"box": box, "given": given, "terminal": tty, "askpass": askpass}
        done = process.run(
            argv,
            env=environment(),
            cwd=Path("/"),
            stdin=json.dumps(document | {"unlock": ways, "parent": os.getpid()}).encode(),
            timeout=_SECONDS if tty is None and askpass is None else _SECONDS + ASK_SECONDS,
            pass_fds=[handle for handle in (box, tty, *pass_fds) if handle is not None],
        )
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        ended = "ran out of time" if done.timed_out else f"ended with {done.code}"
        # What it said on stderr stays unsaid: a module of a token may write anything there.
        raise errors.UnavailableError(f"the signing process did not answer: it {ended}") from error
    if "error" in answer:
        kind = vars(errors).get(answer["kind"], errors.UnavailableError)
        kind = WrongPinError if answer["kind"] == WrongPinError.__name__ else kind
        raise kind(answer["error"], hint=answer["hint"])
    return answer


def environment() -> dict[str, str]:
    """Return the child's whole environment."""
    wanted = ("HOME", *MODULE_VARIABLES, *(DISPLAY if os.environ.get(ASKPASS) else ()))
    return process.inherited(*wanted) | {
        "PYTHONPATH": str(Path(agent_pipeline.__file__).resolve().parent.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
    }
