"""PKCS #11 URIs (RFC 7512), as far as they name one key pair on one token.

`pkcs11:token=team;object=ci;id=%01?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/ci.pin`. What a URI
does not say may be anything; attributes that are not known here are refused rather than ignored, as is a PIN in the URI
itself: it would stand in environments and in shell histories.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

from agent_pipeline.errors import UsageError

SCHEME: Final = "pkcs11:"
_PLAIN: Final = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=]|%[0-9A-Fa-f]{2})*")  # RFC 7512, 2.3, without & and /
_PATH: Final = ("token", "manufacturer", "serial", "model", "slot-id", "object", "id", "type")
_QUERY: Final = ("module-path", "pin-source")
_LONGEST: Final = 4096


@dataclass(frozen=True, slots=True)
class Uri:
    """What a key's URI says; None where it says nothing. `pin_source` is the path of a file, `module` of a library."""

    token: str | None = None
    manufacturer: str | None = None
    serial: str | None = None
    model: str | None = None
    slot_id: int | None = None
    object: str | None = None
    id: bytes | None = None
    module: str | None = None
    pin_source: str | None = None

    def text(self) -> str:
        """Return the URI that `read` reads as this."""
        named = {name: getattr(self, name) for name in ("token", "manufacturer", "serial", "model", "object")}
        parts = [f"{name}={quote(value, safe='')}" for name, value in named.items() if value is not None]
        parts += [] if self.slot_id is None else [f"slot-id={self.slot_id}"]
        parts += [] if self.id is None else [f"id={quote_from_bytes(self.id, safe='')}"]
        query = [] if self.module is None else [f"module-path={quote(self.module, safe='/')}"]
        query += [] if self.pin_source is None else [f"pin-source=file:{quote(self.pin_source, safe='/')}"]
        return f"{SCHEME}{';'.join(parts)}" + (f"?{'&'.join(query)}" if query else "")


def read(text: str) -> Uri:
    """Take a URI apart. Raises `UsageError` for what is none, and for attributes that are not known or given twice."""
    if not text.startswith(SCHEME) or len(text) > _LONGEST:
        raise _wrong("it does not begin with pkcs11:, or is longer than 4096 characters")
    path, _, query = text.removeprefix(SCHEME).partition("?")
    found = _attributes(path, ";", _PATH) | _attributes(query, "&", _QUERY)
    if found.pop("type", b"private") != b"private":
        raise _wrong("its type is not `private`")
    slot = found.pop("slot-id", None)
    if slot is not None and re.fullmatch(rb"[0-9]{1,10}", slot) is None:
        raise _wrong("its slot-id is no number")
    return Uri(
        slot_id=None if slot is None else int(slot),
        id=found.pop("id", None),
        module=_file(found.pop("module-path", None), "module-path"),
        pin_source=_file(_without_scheme(found.pop("pin-source", None)), "pin-source"),
        **{name: _words(name, value) for name, value in found.items()},
    )


def _attributes(text: str, between: str, known: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in text.split(between) if text else ():
        name, equals, value = part.partition("=")
        if name == "pin-value":
            raise UsageError(
                "a PIN in a PKCS #11 URI is not taken: it would stand in environments and histories",
                hint="put it into a file that only you can read: ?pin-source=file:/path",
            )
        if name not in known or not equals:
            raise _wrong(f"{name[:40]!a} is none of {', '.join(known)}")
        if name in found:
            raise _wrong(f"{name} stands twice")
        if (
            _PLAIN.fullmatch(value.replace("/", "").replace("&", "") if between == ";" else value.replace("/", ""))
            is None
        ):
            raise _wrong(f"the value of {name} has characters that must be written as %XX")
        found[name] = unquote_to_bytes(value)
    return found


def _without_scheme(value: bytes | None) -> bytes | None:
    return value if value is None else value.removeprefix(b"file:").removeprefix(b"//")


def _file(value: bytes | None, name: str) -> str | None:
    if value is None:
        return None
    path = _words(name, value)
    if not path.startswith("/"):
        raise _wrong(f"{name} is no absolute path of a file")
    return path


def _words(name: str, value: bytes) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _wrong(f"the value of {name} is no UTF-8") from error
    if not text.isprintable():
        raise _wrong(f"the value of {name} has control characters")
    return text


def _wrong(why: str) -> UsageError:
    return UsageError(
        f"this PKCS #11 URI cannot be used: {why}",
        hint="`agent-pipeline keys list` shows the URIs of a token's keys; RFC 7512 says how they are written",
    )
