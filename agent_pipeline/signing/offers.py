"""Offering a public key, and reading an offer: whoever offers a key shows that he has it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime

from agent_pipeline import clock
from agent_pipeline.attestation import dsse, keys
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.offer import PREDICATE_TYPE, VERSION, Offer
from agent_pipeline.documents.root import Key
from agent_pipeline.documents.statement import PAYLOAD_TYPE, Statement
from agent_pipeline.errors import SignatureError, UsageError
from agent_pipeline.signing.client import Signer

FILE = "offer.dsse.json"


def person_name(text: str) -> str:
    """Return a name for the trust root made from a Git user name. Raises `UsageError` when nothing is left of it."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-")
    if not name:
        raise UsageError(f"no plain name can be made of {text!r}", hint="git config user.name 'Your Name'")
    return name


@dataclass(frozen=True, slots=True)
class Offered:
    """A key that somebody offers, and to which repository, in his words."""

    key: Key
    repository: str


def make(signer: Signer, name: str, repository: str, now: datetime) -> bytes:
    """Return the envelope that offers the signer's public key under `name` to `repository`."""
    offer = Offer(VERSION, repository, name, keys.openssh_from_key(signer.public()), clock.rfc3339(now))
    return signer.statement(offer.to_statement()).to_json()


def read(data: bytes, name: str) -> Offered:
    """Return what `name` offers. Raises `SignatureError` when the offer is not signed with the key, `SchemaError`.

    Whether it is for the repository that it was found in is the caller's question.
    """
    envelope = Envelope.from_json(data)
    statement = Statement.from_json(envelope.payload)
    if statement.predicate_type != PREDICATE_TYPE:
        raise SignatureError(
            f"this is no offer of a key but {statement.predicate_type[:80]}",
            hint=f"{name} runs `agent-pipeline join` again, with the version that is in use here",
        )
    offer = Offer.from_statement(statement)
    key = keys.key_from_openssh(offer.key, name)
    dsse.check(envelope, key, PAYLOAD_TYPE)
    if offer.name != name:
        raise SignatureError(f"the offer under the name {name} was made by {offer.name}")
    return Offered(key, offer.repository)
