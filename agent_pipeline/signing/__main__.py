"""The signing child: reads one document of jobs, answers with signatures, and is gone.

It is started by `child` only. Its memory is not dumped and not open to other processes of the same user.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent_pipeline.attestation import keys
from agent_pipeline.documents.form import to_plain
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.signing import jobs, keyfile

_PR_SET_DUMPABLE: Final = 4


def main() -> int:
    """Answer one document. Errors that people are meant to read are answers too; the exit code is theirs."""
    _protect()
    asked = json.loads(sys.stdin.buffer.read(jobs.MAX_BYTES))
    try:
        answer, code = _answer(asked, os.environ.get(jobs.PASSPHRASE)), 0
    except AgentPipelineError as error:
        answer = {"error": error.message, "hint": error.hint, "kind": type(error).__name__}
        code = error.exit_code
    sys.stdout.write(json.dumps(answer))
    return code


def _protect() -> None:
    """No core dump, and on Linux no ptrace or /proc/<pid>/mem for processes of the same user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _answer(asked: dict[str, Any], passphrase: str | None) -> dict[str, Any]:
    if "generate" in asked:
        keyfile.create(Path(asked["generate"]), asked["comment"], passphrase)
        return {}
    private = keyfile.load(asked["key"], passphrase)
    signatures = [_sign(private, jobs.from_plain(job).message()) for job in asked["jobs"]]
    return {
        "public": to_plain(keys.key_from_public(private.public_key())),
        "signatures": [base64.b64encode(signature).decode("ascii") for signature in signatures],
    }


def _sign(private: keyfile.PrivateKey, message: bytes) -> bytes:
    if isinstance(private, Ed25519PrivateKey):
        return private.sign(message)
    return private.sign(message, ec.ECDSA(hashes.SHA256()))


if __name__ == "__main__":
    sys.exit(main())
