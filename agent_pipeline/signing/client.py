"""Asking for signatures: the one door. Nothing here reads a private key: each call is one short-lived child process."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from agent_pipeline.attestation import keys, sshsig
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.form import from_plain
from agent_pipeline.documents.root import Key
from agent_pipeline.documents.statement import PAYLOAD_TYPE, Statement
from agent_pipeline.documents.strict import MAX_BYTES
from agent_pipeline.errors import SchemaError, UsageError
from agent_pipeline.signing import boxes, child, handover, places, sources
from agent_pipeline.signing.jobs import DsseJob, Job, SshJob
from agent_pipeline.signing.sources import Source
from agent_pipeline.signing.unlock import WrongPinError

# An envelope carries its payload in base64, and a few hundred bytes beside it.
MAX_PAYLOAD: Final = (MAX_BYTES - 2048) // 4 * 3
SOCKET: Final = "SSH_AUTH_SOCK"

_typed: dict[Source, int] = {}  # boxes for what was typed, by the key that it opens
_known: dict[Source, Key] = {}  # public halves that had to be asked for; a file has its own beside it
_refused: dict[Source, WrongPinError] = {}  # tokens that did not take a PIN: this command does not try it again


class Signer:
    """One private key, by its name: see `sources`."""

    def __init__(self, key: str) -> None:
        """Name the key. Nothing is opened before the first use. Raises `UsageError` for what can be no name."""
        self._source = sources.parse(key)
        self._public: Key | None = None

    @property
    def store(self) -> str:
        """Where the key is: see `sources`."""
        return self._source.store

    @property
    def name(self) -> str:
        """What people call the key: never a secret."""
        return self._source.name

    def public(self) -> Key:
        """Return the public half, from the `.pub` file beside the key when there is one.

        Raises `UsageError` now for a key file that others can read, rather than after an agent has run.
        """
        if self._public is None:
            self._public = _known.get(self._source) or self._beside()
        if self._public is None:
            self.sign(())
        assert self._public is not None  # noqa: S101 - `sign` learns it
        return self._public

    def _beside(self) -> Key | None:
        if self._source.store != sources.FILE:
            return None
        path = self._source.at
        places.way(path)
        try:
            places.private(path, os.stat(path))  # noqa: PTH116 - the pair of `os.fstat` in the child
            line = Path(f"{path}.pub").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None  # the child says what is wrong with the key itself; a public half is only a shortcut
        return keys.key_from_openssh(line)

    def sign(self, jobs: Sequence[Job]) -> list[bytes]:
        """Return one signature for each job, each checked against the public key.

        Raises `UsageError` for a key that cannot be used, `UnavailableError` when its store or the child did not
        answer, `SignatureError` when what came back is no signature by that key over these bytes.
        """
        answer = _asked(self._source, [job.to_plain() for job in jobs])
        public = from_plain(Key, answer["public"])
        if self._public is not None and self._public.keyid != public.keyid:
            raise _mismatch(self._source)
        signatures = [base64.b64decode(text, validate=True) for text in answer["signatures"]]
        for job, signature in zip(jobs, signatures, strict=True):
            keys.check_signature(public, job.message(), signature, "what the signing process returned")
        self._public = public
        if self._source.store != sources.FILE:
            _known[self._source] = public
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


def _mismatch(source: Source) -> UsageError:
    if source.store == sources.FILE:
        mend = f"make it again: ssh-keygen -y -f {source.at} > {source.at}.pub"
        return UsageError(f"{source.at}.pub is not the public half of {source.at}", hint=mend)
    return UsageError(f"{source.name} was another key a moment ago", hint="look with `agent-pipeline keys list`")


def _asked(source: Source, jobs: list[dict[str, Any]]) -> dict[str, Any]:
    if source in _refused:
        raise _refused[source]
    document = {"key": source.to_plain(), "jobs": jobs, "socket": os.environ.get(SOCKET)}
    given = None if source.store == sources.TOKEN else handover.passphrase_box()
    if given is None and source not in _typed:
        _typed[source] = boxes.new()
    try:
        return child.ask(
            document,
            box=_typed[source] if given is None else given,
            given="" if given is None else handover.PASSPHRASE,
            pass_fds=[int(source.at)] if source.store == sources.BOX else [],
        )
    except WrongPinError as error:
        _refused[source] = error
        raise
