"""The signing child: reads one document of jobs, answers with signatures or with a list of keys, and is gone.

It is started by `child` only. Its memory is not dumped and not open to other processes of the same user. It answers
with public keys, signatures and errors that people are meant to read; of anything unexpected only with kind and place.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, Final

from agent_pipeline.attestation import keys
from agent_pipeline.documents.form import from_plain, to_plain
from agent_pipeline.errors import AgentPipelineError, UsageError
from agent_pipeline.signing import jobs, keyfile, protection, ssh_agent, stores, unlock
from agent_pipeline.signing.sources import Source

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_DEFECT: Final = 3


def main() -> int:
    """Answer one document. Errors that people are meant to read are answers too; the exit code is theirs."""
    _protect()
    asked = json.loads(sys.stdin.buffer.read(jobs.MAX_BYTES))
    if os.getppid() != asked["parent"]:  # it died before it could take us along
        return _DEFECT
    try:
        answer, code = _answer(asked), 0
    except AgentPipelineError as error:
        answer = {"error": error.message, "hint": error.hint, "kind": type(error).__name__}
        code = error.exit_code
    except Exception as error:  # noqa: BLE001 - its text and traceback may hold anything: neither leaves this process
        answer, code = {"error": f"the signing process failed: {_where(error)}", "hint": None, "kind": ""}, _DEFECT
    sys.stdout.write(json.dumps(answer))
    return code


def _protect() -> None:
    """No core dump; on Linux no ptrace or /proc/<pid>/mem for processes of the same user, and no life without us."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    if "generate" in asked:
        return _generated(asked)
    if "list" in asked:
        return {"keys": _listed(asked["list"])}
    source = from_plain(Source, asked["key"])
    with stores.opened(source, unlock.from_plain(asked["unlock"]), asked["socket"]) as store:
        signatures = [keys.one_form(store.public, store.sign(jobs.from_plain(job).message())) for job in asked["jobs"]]
        return {
            "public": to_plain(store.public),
            "signatures": [base64.b64encode(signature).decode("ascii") for signature in signatures],
        }


def _generated(asked: dict[str, Any]) -> dict[str, Any]:
    ways = unlock.from_plain(asked["unlock"])
    secret = ways.known()
    if secret is None and asked["protect"]:
        secret = ways.new("a passphrase for the new key")
    keyfile.create(Path(asked["generate"]), asked["comment"], asked["scheme"], secret)
    return {"encrypted": bool(secret)}


def _listed(asked: dict[str, Any]) -> list[dict[str, Any]]:
    if "files" in asked:
        return [_file(path) for path in asked["files"]]
    if asked.get("module") is not None:
        return [{"at": uri.text(), "key": to_plain(key)} for uri, key in stores.tokens().listed(asked["module"])]
    with ssh_agent.connect(asked["socket"], asked["seconds"]) as agent:
        return [{"at": held.comment, "key": to_plain(held.key)} for held in agent.held()]


def _file(path: str) -> dict[str, Any]:
    """Say whether the key file `path` is encrypted, without opening what is; or why it cannot be used."""
    try:
        return {"at": path, "encrypted": protection.front(keyfile.read(path), path).encrypted}
    except UsageError as error:
        return {"at": path, "error": error.message, "hint": error.hint}


def _where(error: Exception) -> str:
    """Return an exception's kind, and the file and line of ours that it passed through last."""
    frames, step = [], error.__traceback__
    while step is not None:
        frames.append(f"{Path(step.tb_frame.f_code.co_filename).name}:{step.tb_lineno}")
        step = step.tb_next
    return f"{type(error).__name__} at {frames[-1] if frames else 'an unknown place'}"


if __name__ == "__main__":
    sys.exit(main())
