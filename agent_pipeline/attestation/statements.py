"""From bytes to a statement that somebody with the right role signed."""

from __future__ import annotations

from dataclasses import replace

from agent_pipeline.attestation import dsse, keys
from agent_pipeline.documents import strict
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.root import Key, Person, TrustRoot
from agent_pipeline.documents.statement import PAYLOAD_TYPE, Statement
from agent_pipeline.errors import SignatureError
from agent_pipeline.frozen import frozen


@frozen
class Signed:
    """A statement, who signed it, with which key, and the SHA-256 of the envelope's bytes."""

    statement: Statement
    person: Person
    keyid: str
    envelope: str


def signer(envelope: Envelope, root: TrustRoot, payload_type: str = PAYLOAD_TYPE, *, at: int | None = None) -> Person:
    """Return the person of `root` whose key signed `envelope`, with the roles of that key. Raises `SignatureError`.

    `at` is the index at which the shared log has the document (an entry's own; for anything else that of the first
    entry that names its envelope), None for one that was never logged. A grant that ended counts below its end only:
    dates say nothing, since whoever signs writes them.

    The key id in the envelope is a hint by which the key is found; the signature decides.
    """
    key, owner = speaker(envelope.keyid, root, at)
    dsse.check(envelope, key, payload_type)
    return owner


def speaker(keyid: str, root: TrustRoot, at: int | None) -> tuple[Key, Person]:
    """Return the key `keyid` and for whom it speaks at the log's index `at`, or raise `SignatureError`."""
    key, owner = root.known(keyid), root.speaker(keyid, at)
    if key is None or owner is None:
        raise _nobodys(keyid, root, at)
    return key, owner


def _nobodys(keyid: str, root: TrustRoot, at: int | None) -> SignatureError:
    """Return the error for a key that speaks for nobody, or for nobody any more."""
    hint = "`agent-pipeline trust show` lists the keys; `agent-pipeline join` offers one"
    ended = root.ended(keyid)
    if not ended:
        return SignatureError(f"key {keyid[:8]} is nobody's in version {root.version} of the trust root", hint=hint)
    end, word = max(grant.until for grant in ended), "was revoked" if ended[0].revoked else "ended"
    place = "this was never logged" if at is None else f"the log has this at {at}"
    return SignatureError(
        f"key {keyid[:8]} of {ended[0].owner} {word}: it counts below entry {end} of the log, and {place}", hint=hint
    )


def in_one_form(data: bytes, root: TrustRoot) -> Envelope | None:
    """Read an envelope in the form that counts where envelopes are told apart by their bytes, None for any other.

    That is what `Envelope.to_json` writes, with the signature in its one form: else anybody could make of what somebody
    signed another one, under another digest. Raises `SchemaError`.
    """
    envelope = Envelope.from_one_form(data)
    return envelope if envelope is not None and _signature(envelope, root) == envelope.signature else None


def plain(data: bytes, root: TrustRoot) -> bytes:
    """Return the one form of the envelope in `data`, which anybody can make of any other. Raises `SchemaError`."""
    envelope = Envelope.from_json(data)
    return replace(envelope, signature=_signature(envelope, root)).to_json()


def _signature(envelope: Envelope, root: TrustRoot) -> bytes:
    key = root.known(envelope.keyid)
    return envelope.signature if key is None else keys.one_form(key, envelope.signature)


def require_role(person: Person, *roles: str) -> None:
    """Raise `SignatureError` unless `person` has one of `roles`."""
    if not set(roles) & set(person.roles):
        raise SignatureError(
            f"{person.name} signed this but is no {' or '.join(roles)} (roles: {', '.join(person.roles) or 'none'})",
            hint="`agent-pipeline trust show` lists who may do what",
        )


def opened(data: bytes, root: TrustRoot, *, at: int | None = None) -> Signed:
    """Return the statement in the envelope `data` once anybody of `root` is known to have signed it.

    Whether he may say such a thing is `require`'s question. `at` is where the shared log has it, as for `signer`.
    Raises `SchemaError`, `SignatureError`.
    """
    return believed(Envelope.from_json(data), data, root, at=at)


def believed(envelope: Envelope, data: bytes, root: TrustRoot, *, at: int | None = None) -> Signed:
    """Return the same for an `envelope` that was read out of `data` already."""
    person = signer(envelope, root, at=at)
    return Signed(Statement.from_json(envelope.payload), person, envelope.keyid, strict.sha256(data))


def require(signed: Signed, predicate_type: str, *roles: str) -> None:
    """Raise `SignatureError` unless this is of `predicate_type`, by somebody with one of `roles`."""
    require_role(signed.person, *roles)
    if signed.statement.predicate_type != predicate_type:
        raise SignatureError(f"this is {signed.statement.predicate_type[:80]!r}, not {predicate_type!r}")


def read(data: bytes, root: TrustRoot, predicate_type: str, *roles: str, at: int | None = None) -> Signed:
    """Return the statement in the envelope `data` once somebody with one of `roles` is known to have signed it.

    `at` is where the shared log has it, as for `signer`. Raises `SchemaError`, `SignatureError`.
    """
    signed = opened(data, root, at=at)
    require(signed, predicate_type, *roles)
    return signed
