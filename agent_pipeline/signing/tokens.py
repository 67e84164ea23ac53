"""Keys on PKCS #11 tokens: smart cards, security keys, HSMs, SoftHSM. In the signing child only.

A token's module is a library of somebody else's: it runs in the child's process, which holds nothing else. A PIN is
tried once. Where nobody types it, it is not tried at all once the token says that one was wrong before or that the next
wrong one locks it: a job that runs again and again cannot lock a token.

Source: PKCS #11 v3.1 (OASIS): C_Login, CKF_USER_PIN_*, 6.3 (EC keys: DER of a named curve, points in OCTET STRINGs).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass, TokenFlag

from agent_pipeline.attestation import keys
from agent_pipeline.documents.root import Key
from agent_pipeline.errors import AgentPipelineError, SignatureError, UnavailableError, UsageError
from agent_pipeline.signing import keyfile, places
from agent_pipeline.signing.pkcs11_uri import Uri
from agent_pipeline.signing.unlock import Unlock, WrongPinError

_P256: Final = bytes.fromhex("06082a8648ce3d030107")  # DER of the object identifier
_ED25519: Final = (bytes.fromhex("06032b6570"), b"\x13\x0cedwards25519")  # the identifier; the name of PKCS #11 v3.0
_P256_SIZE, _ED25519_SIZE = 65, 32  # of a point


@dataclass(frozen=True, slots=True)
class _Public:
    """A public key as a token has it."""

    id: bytes
    label: str
    key: Key


class TokenKey:
    """One key pair on a token that is there. The private half is looked for, and a PIN asked, when it has to sign."""

    def __init__(self, token: Any, public: _Public, uri: Uri, unlock: Unlock) -> None:  # noqa: ANN401 - the library's
        """Speak of `public`, which is on `token`."""
        self._token, self._uri, self._unlock = token, uri, unlock
        self._id, self.public = public.id, public.key
        self._session: Any = None
        self._pin = ""

    def sign(self, message: bytes) -> bytes:
        """Return a signature in the form of the key's scheme. The first one logs in."""
        with _understood():
            if self._session is None:
                self._session = self._login()
            private = _only(
                list(self._session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.ID: self._id})),
                f"private key with the id {self._id.hex()} on {self._token.label}",
            )
            pin = self._pin if _flag(private, Attribute.ALWAYS_AUTHENTICATE) else None
            if self.public.scheme == keys.ED25519:
                return bytes(private.sign(message, mechanism=Mechanism.EDDSA, pin=pin))
            raw = bytes(private.sign(hashlib.sha256(message).digest(), mechanism=Mechanism.ECDSA, pin=pin))
        half = len(raw) // 2
        return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))

    def _login(self) -> Any:  # noqa: ANN401 - the library's session
        flags, label = self._token.flags, self._token.label
        if flags & TokenFlag.USER_PIN_LOCKED:
            raise UsageError(f"the PIN of the token {label} is locked", hint="unlock it with the token's own tool")
        typed = self._uri.pin_source is None
        if not typed and flags & (TokenFlag.USER_PIN_COUNT_LOW | TokenFlag.USER_PIN_FINAL_TRY):
            raise UsageError(
                f"the last PIN that the token {label} got was wrong: none is tried again without a person",
                hint=f"correct {self._uri.pin_source}, then log in once by hand: leave pin-source out of the URI",
            )
        secret = self._secret(label)
        try:
            self._pin = secret.decode("utf-8")
            session = self._token.open(user_pin=self._pin)
        except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange, UnicodeDecodeError) as error:
            raise WrongPinError(
                f"the PIN for the token {label} is wrong", hint="it was tried once; a few more lock the token"
            ) from error
        except pkcs11.PinLocked as error:
            raise UsageError(f"the PIN of the token {label} is locked now", hint="use the token's own tool") from error
        if typed:
            self._unlock.opened(secret)
        return session

    def _secret(self, label: str) -> bytes:
        if self._uri.pin_source is not None:
            return keyfile.read(self._uri.pin_source).split(b"\n")[0].rstrip(b"\r")
        return self._unlock.ask(
            f"the PIN of the token {label}", "put it into a file of mode 0600: ?pin-source=file:/path"
        )


def open_key(uri: Uri, unlock: Unlock) -> TokenKey:
    """Return the one key pair that `uri` names. Raises `UsageError` for none or several, and for a missing module."""
    with _understood():
        found = [(token, public) for token in _tokens(uri) for public in _publics(token, uri)]
        token, public = _only(found, "key of the scheme Ed25519 or P-256 that the URI names")
        return TokenKey(token, public, uri, unlock)


def listed(module: str) -> tuple[tuple[Uri, Key], ...]:
    """Return the Ed25519 and P-256 public keys on all tokens of `module`, each with the URI that names it alone."""
    with _understood():
        return tuple(
            (
                Uri(
                    token=token.label or None,
                    serial=token.serial.decode("utf-8", "replace") or None,
                    object=public.label or None,
                    id=public.id or None,
                    module=module,
                ),
                public.key,
            )
            for token in _tokens(Uri(module=module))
            for public in _publics(token, Uri())
        )


def _tokens(uri: Uri) -> Iterator[Any]:
    """Return the initialised tokens that `uri` does not exclude."""
    if uri.module is None:
        raise UsageError(
            "the URI does not say which PKCS #11 module the token needs",
            hint="?module-path=/usr/lib/..., or set AGENT_PIPELINE_PKCS11_MODULE",
        )
    places.code(uri.module)
    for slot in pkcs11.lib(uri.module).get_slots(token_present=True):
        token = slot.get_token()
        said = (uri.token, uri.manufacturer, uri.model, uri.serial, uri.slot_id)
        serial = token.serial.decode("utf-8", "replace")
        are = (token.label, token.manufacturer_id, token.model, serial, slot.slot_id)
        fits = all(want in (None, value) for want, value in zip(said, are, strict=True))
        if fits and token.flags & TokenFlag.TOKEN_INITIALIZED:
            yield token


def _publics(token: Any, uri: Uri) -> list[_Public]:  # noqa: ANN401 - the library's object
    """Return the public keys of our schemes on a token, readable without a PIN, that `uri` does not exclude."""
    wanted: dict[Any, Any] = {Attribute.CLASS: ObjectClass.PUBLIC_KEY}
    wanted |= {} if uri.object is None else {Attribute.LABEL: uri.object}
    wanted |= {} if uri.id is None else {Attribute.ID: uri.id}
    found = []
    with token.open() as session:
        for public in session.get_objects(wanted):
            if public.key_type in (KeyType.EC, KeyType.EC_EDWARDS):
                with contextlib.suppress(SignatureError):  # weak, or of another curve
                    key = _key(bytes(public[Attribute.EC_PARAMS]), bytes(public[Attribute.EC_POINT]))
                    found.append(_Public(bytes(public[Attribute.ID]), public.label or "", key))
    return found


def _key(parameters: bytes, point: bytes) -> Key:
    """Return the key of a curve and a point on it. Raises `SignatureError` for those that are not accepted."""
    ed25519 = parameters in _ED25519
    size = _ED25519_SIZE if ed25519 else _P256_SIZE
    if not ed25519 and parameters != _P256:
        raise SignatureError("the key on the token is on another curve")
    if len(point) == size + 2 and point[:2] == bytes([4, size]):  # the OCTET STRING of the standard; some give it bare
        point = point[2:]
    try:
        if ed25519:
            return keys.key_from_public(Ed25519PublicKey.from_public_bytes(point))
        return keys.key_from_public(ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point))
    except ValueError as error:
        raise SignatureError("the public key on the token is no point of its curve") from error


def _flag(thing: Any, attribute: Any) -> bool:  # noqa: ANN401 - the library's object
    try:
        return bool(thing[attribute])
    except pkcs11.AttributeTypeInvalid:
        return False


def _only(found: list[Any], what: str) -> Any:  # noqa: ANN401 - the library's objects
    if len(found) != 1:
        raise UsageError(
            f"there is {'no' if not found else 'more than one'} {what}",
            hint="`agent-pipeline keys list` shows what is there, each with the URI that names it alone",
        )
    return found[0]


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    """Turn the library's errors into ours. Their texts stay behind: a module may put anything there."""
    try:
        yield
    except AgentPipelineError:
        raise
    except RuntimeError as error:  # python-pkcs11's base class
        raise UnavailableError(
            f"the token or its module failed: {type(error).__name__}", hint="is it plugged in? its own tool says more"
        ) from error
