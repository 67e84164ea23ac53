"""Asking for signatures. Nothing here reads a private key: every call is one short-lived child process."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from agent_pipeline.attestation import keys, sshsig
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.form import from_plain
from agent_pipeline.documents.root import Key
from agent_pipeline.documents.statement import PAYLOAD_TYPE, Statement
from agent_pipeline.documents.strict import MAX_BYTES
from agent_pipeline.errors import SchemaError, UsageError
from agent_pipeline.signing import child, keyfile
from agent_pipeline.signing.jobs import DsseJob, Job, SshJob

# An envelope carries its payload in base64, and a few hundred bytes beside it.
MAX_PAYLOAD: Final = (MAX_BYTES - 2048) // 4 * 3


class Signer:
    """One private key, by the path of its OpenSSH file or, as CI has it, by its text."""

    def __init__(self, key: str) -> None:
        """Name the key. Nothing is opened before the first use."""
        self._source = key if keyfile.is_text(key) else str(Path(key).expanduser().absolute())
        self._public: Key | None = None

    def public(self) -> Key:
        """Return the public half, from the `.pub` file beside the key when there is one.

        Raises `UsageError` now for a key file that others can read, rather than after an agent has run.
        """
        if self._public is None:
            self._public = self._beside()
        if self._public is None:
            self.sign(())
        assert self._public is not None  # noqa: S101 - `sign` learns it
        return self._public

    def _beside(self) -> Key | None:
        if keyfile.is_text(self._source):
            return None
        try:
            keyfile.check_file(self._source, os.stat(self._source))  # noqa: PTH116 - the pair of `os.fstat` in the child
            line = Path(f"{self._source}.pub").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None  # the child says what is wrong with the key itself; a public half is only a shortcut
        return keys.key_from_openssh(line)

    def sign(self, jobs: Sequence[Job]) -> list[bytes]:
        """Return one signature for each job, each checked against the public key.

        Raises `UsageError` for a key that cannot be used, `UnavailableError` when the child did not answer.
        """
        answer = child.ask({"key": self._source, "jobs": [job.to_plain() for job in jobs]})
        public = from_plain(Key, answer["public"])
        if self._public is not None and self._public.keyid != public.keyid:
            raise UsageError(
                f"{self._source}.pub is not the public half of {self._source}",
                hint=f"make it again: ssh-keygen -y -f {self._source} > {self._source}.pub",
            )
        self._public = public
        signatures = [base64.b64decode(text, validate=True) for text in answer["signatures"]]
        for job, signature in zip(jobs, signatures, strict=True):
            keys.check_signature(public, job.message(), signature, "what the signing process returned")
        return signatures

    def envelope(self, payload_type: str, payload: bytes) -> Envelope:
        """Return `payload` in a DSSE envelope. Raises `SchemaError` for more than any reader would take."""
        if len(payload) > MAX_PAYLOAD:
            raise SchemaError(f"{len(payload)} bytes are too many to sign: no reader takes more than {MAX_PAYLOAD}")
        (signature,) = self.sign((DsseJob(payload_type, payload),))
        return Envelope(payload_type, payload, self.public().keyid, signature)

    def statement(self, statement: Statement) -> Envelope:
        """Return an in-toto statement in a DSSE envelope."""
        return self.envelope(PAYLOAD_TYPE, statement.to_json())

    def commit(self, draft: bytes) -> str:
        """Return the armored SSH signature of a commit, as Git keeps it in the commit's header."""
        (signature,) = self.sign((SshJob(draft),))
        return sshsig.armor(signature, self.public())
