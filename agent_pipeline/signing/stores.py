"""Opening the key that a source names, in the signing child: whatever the store, a public half and `sign`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent_pipeline.attestation import keys
from agent_pipeline.documents.root import Key
from agent_pipeline.errors import UsageError
from agent_pipeline.signing import boxes, handover, keyfile, pkcs11_uri, sources, ssh_agent
from agent_pipeline.signing.sources import Source
from agent_pipeline.signing.ssh_agent import Agent
from agent_pipeline.signing.unlock import Unlock


class Store(Protocol):
    """One key that can sign. A signature has its scheme's form (64 bytes; ECDSA's DER); nobody verified it yet."""

    @property
    def public(self) -> Key:
        """The public half, as the store has it."""

    def sign(self, message: bytes) -> bytes:
        """Sign exactly these bytes."""


@dataclass(frozen=True, slots=True)
class InMemory:
    """A key whose private half is in this process."""

    private: keyfile.PrivateKey

    @property
    def public(self) -> Key:
        """The public half, computed."""
        return keys.key_from_public(self.private.public_key())

    def sign(self, message: bytes) -> bytes:
        """Sign exactly these bytes."""
        if isinstance(self.private, Ed25519PrivateKey):
            return self.private.sign(message)
        return self.private.sign(message, ec.ECDSA(hashes.SHA256()))


@dataclass(frozen=True, slots=True)
class InAgent:
    """A key that the ssh-agent holds."""

    agent: Agent
    public: Key

    def sign(self, message: bytes) -> bytes:
        """Have the agent sign exactly these bytes."""
        return self.agent.sign(self.public, message)


@contextlib.contextmanager
def opened(source: Source, unlock: Unlock, socket: str | None) -> Iterator[Store]:
    """Open the key that `source` names. Raises `UsageError`, `SignatureError`, `UnavailableError` as its store does."""
    if source.store == sources.TOKEN:
        yield tokens().open_key(pkcs11_uri.read(source.at), unlock)
    elif source.store == sources.SSH_AGENT:
        with ssh_agent.connect(socket) as agent:
            yield InAgent(agent, _held(agent, source.at))
    else:
        yield InMemory(_loaded(source, unlock))


def tokens() -> ModuleType:
    """Return the module for tokens, an extra. Raises `UsageError` where it is not installed."""
    try:
        from agent_pipeline.signing import tokens as module  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise UsageError(
            "keys on tokens need python-pkcs11, which is not installed", hint="pip install 'agent-pipeline[pkcs11]'"
        ) from error
    return module


def _held(agent: Agent, fingerprint: str) -> Key:
    for held in agent.held():
        if keys.fingerprint(held.key) == fingerprint:
            return held.key
    raise UsageError(
        f"the ssh-agent holds no Ed25519 or P-256 key {fingerprint}",
        hint="add it with ssh-add; `agent-pipeline keys list` shows those that can be used",
    )


def _loaded(source: Source, unlock: Unlock) -> keyfile.PrivateKey:
    typed: list[bytes] = []

    def passphrase() -> bytes:
        otherwise = f"put it into {handover.PASSPHRASE}, or give the key to an ssh-agent"
        typed.append(unlock.ask(f"the passphrase of the encrypted key {source.name}", otherwise))
        return typed[0]

    data = boxes.get(int(source.at)) if source.store == sources.BOX else keyfile.read(source.at)
    try:
        private = keyfile.load(data, source.name, passphrase)
    except UsageError as error:
        if typed and unlock.given:
            raise UsageError(error.message, hint=f"is {unlock.given} its passphrase?") from error
        raise
    if typed:
        unlock.opened(typed[0])
    return private
