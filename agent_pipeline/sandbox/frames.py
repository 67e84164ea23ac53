"""The host's half of the frame protocol with the sandbox's PID 1, which is taken to be hostile.

A frame is type (1 byte), tag (8 bytes), length (4 bytes), and that many bytes of fields; a field is a length (4
bytes) and that many bytes. Requests carry a fresh random tag, which the answer must repeat: nothing can be answered
before it was asked. What comes back is checked against a closed set of types, with a bound on every length before a
byte of it is read, and turned into numbers, bytes and names, never into anything that is called or looked up. Any
deviation is a `SandboxError`, after which the conversation is over. The other half is
`sandbox_images/python/frame_agent.py`.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox.links import Link

HELLO, EXEC, READ, WRITE, LIST, TERMINAL, INPUT, RESIZE, PIPES = 1, 2, 3, 4, 5, 6, 7, 8, 9
POSTURE, RESULT, DATA, NAMES, DONE, FAULT, OUTPUT = 65, 66, 67, 68, 69, 70, 71
NOT_FOUND, IS_DIRECTORY, NOT_DIRECTORY, NOT_REGULAR, TOO_LARGE, OUTSIDE, DENIED, NO_SPACE, OTHER = range(1, 10)
TIMED_OUT, FLOODED, TRUNCATED = 1, 2, 4

HEADER: Final = 13
TAG: Final = 8
SMALL: Final = 1 << 18
NAMES_LIMIT: Final = 1 << 20
REQUEST_LIMIT: Final = 32 << 20
_MAX_CODE: Final = 255
_MAX_FLAGS: Final = TIMED_OUT | FLOODED | TRUNCATED
_NUMBER: Final = re.compile(rb"\A(?:0|[1-9][0-9]{0,5})\Z")
_KEY: Final = re.compile(rb"\A[A-Za-z0-9._ -]{1,64}\Z")
_REASONS: Final = {
    NOT_DIRECTORY: "it, or what it lies in, is not a directory",
    NOT_REGULAR: "it is not a regular file",
    TOO_LARGE: "it is too large",
    OUTSIDE: "it is not below /workspace",
    DENIED: "permission denied",
    NO_SPACE: "no space is left in the sandbox",
    OTHER: "the sandbox's file system refuses it",
}


class BrokenError(SandboxError):
    """The far side did not keep to the protocol."""

    def __init__(self, what: str) -> None:
        """Say `what` it did."""
        super().__init__(f"the sandbox broke the frame protocol: {what}", hint="nothing it said was used; try again")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: exit code or None, and what it said."""

    code: int | None
    timed_out: bool
    truncated: bool
    output: bytes


def pack(fields: Sequence[bytes]) -> bytes:
    """Return `fields` as bytes."""
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)


def unpack(payload: bytes) -> tuple[bytes, ...]:
    """Return the fields of `payload`. Raises `BrokenError` when their lengths do not fill it exactly."""
    fields, at = [], 0
    while at < len(payload):
        size = int.from_bytes(payload[at : at + 4], "big")
        at += 4
        if at + size > len(payload):
            raise BrokenError("a field is longer than its frame")
        fields.append(payload[at : at + size])
        at += size
    if at != len(payload):
        raise BrokenError("a frame ends within a field's length")
    return tuple(fields)


def ask(
    link: Link, kind: int, fields: Sequence[bytes], *, limit: int, deadline: float
) -> tuple[int, tuple[bytes, ...]]:
    """Send a request and return type and fields of its answer, which may have `limit` bytes.

    Raises `SandboxError`, `ValueError` when the request itself is too large to be sent.
    """
    tag = secrets.token_bytes(TAG)
    send(link, kind, tag, fields, deadline)
    return receive(link, tag, limit=limit, deadline=deadline)


def send(link: Link, kind: int, tag: bytes, fields: Sequence[bytes], deadline: float) -> None:
    """Send one frame. Raises `SandboxError`, `ValueError` when it is too large to be sent."""
    payload = pack(fields)
    if len(payload) > REQUEST_LIMIT:
        raise ValueError("too large for the sandbox")
    link.send(bytes([kind]) + tag + len(payload).to_bytes(4, "big") + payload, deadline)


def receive(link: Link, tag: bytes, *, limit: int, deadline: float) -> tuple[int, tuple[bytes, ...]]:
    """Return type and fields of one frame that answers `tag`, and has at most `limit` bytes. Raises `SandboxError`."""
    header = link.receive(HEADER, deadline)
    size = int.from_bytes(header[1 + TAG :], "big")
    if header[1 : 1 + TAG] != tag:
        raise BrokenError("an answer to something that was not asked")
    if size > limit:
        raise BrokenError(f"an answer of {size} bytes where at most {limit} are allowed")
    return header[0], unpack(link.receive(size, deadline))


def expect(answer: tuple[int, tuple[bytes, ...]], kind: int, path: str = "") -> tuple[bytes, ...]:
    """Return the fields of an answer of type `kind`.

    Raises what a fault says about `path` (`FileNotFoundError`, `IsADirectoryError`, `ValueError`), `BrokenError` for
    any other answer.
    """
    got, fields = answer
    if got == kind:
        return fields
    if got != FAULT or len(fields) != 1:
        raise BrokenError(f"an answer of type {got} where {kind} was due")
    code = number(fields[0], OTHER)
    if code == NOT_FOUND:
        raise FileNotFoundError(f"{path}: there is no such file in the sandbox")
    if code == IS_DIRECTORY:
        raise IsADirectoryError(f"{path}: it is a directory")
    if code not in _REASONS:
        raise BrokenError(f"a fault {code} that does not exist")
    raise ValueError(f"{path}: {_REASONS[code]}")


def number(field: bytes, highest: int) -> int:
    """Return a decimal number from 0 to `highest`. Raises `BrokenError`."""
    if not _NUMBER.match(field) or int(field) > highest:
        raise BrokenError("a number that is none, or out of its range")
    return int(field)


def ended(fields: tuple[bytes, ...], limit: int) -> Ended:
    """Read a command's result whose output may have `limit` bytes. Raises `BrokenError`."""
    if len(fields) != 3:  # noqa: PLR2004 - code, flags, output
        raise BrokenError("a result without its three fields")
    code = number(fields[0], _MAX_CODE) if fields[0] else None
    flags, output = number(fields[1], _MAX_FLAGS), fields[2]
    if len(output) > limit:
        raise BrokenError("more output than was asked for")
    if (code is None) != bool(flags & (TIMED_OUT | FLOODED)):
        raise BrokenError("a result that contradicts itself")
    return Ended(code, bool(flags & TIMED_OUT), bool(flags & TRUNCATED), output)


def names(fields: tuple[bytes, ...]) -> tuple[str, ...]:
    """Read a directory's names; a directory's ends with a slash. Raises `BrokenError` for what no name can be."""
    for field in fields:
        bare = field.removesuffix(b"/")
        if not bare or bare in {b".", b".."} or b"/" in bare or b"\0" in bare:
            raise BrokenError("a file name that cannot be one")
    return tuple(sorted(os.fsdecode(field) for field in fields))


def facts(fields: tuple[bytes, ...]) -> dict[str, str]:
    """Read what the self-test reports: unique keys, each with a text. Raises `BrokenError`."""
    if len(fields) % 2:
        raise BrokenError("a report with a key and no value")
    report: dict[str, str] = {}
    for key, value in zip(fields[::2], fields[1::2], strict=True):
        if not _KEY.match(key) or key.decode() in report:
            raise BrokenError("a report with a key that is malformed or there twice")
        report[key.decode()] = value.decode("utf-8", "backslashreplace")
    return report


def argument(text: str) -> bytes:
    """Return `text` as the bytes that a kernel takes. Raises `ValueError` for what no kernel takes."""
    if "\0" in text:
        raise ValueError("a NUL character cannot be handed to a command or a file system")
    try:
        return os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ValueError("a lone surrogate cannot be handed to a command or a file system") from error
