"""A client of the ssh-agent protocol, the two messages that signing needs, over the agent's Unix socket.

The agent is a program of the user's own, but what it answers is checked like anything from outside: lengths are bounded
before they are read, all bytes must be used, one deadline holds for the whole conversation, and a signature is verified
by whoever asked for it.

Source: draft-ietf-sshm-ssh-agent; RFC 8709 (Ed25519), RFC 5656 (ECDSA on P-256 signs SHA-256, as we do).
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from agent_pipeline.attestation import keys, sshsig
from agent_pipeline.attestation.wire import Reader, string
from agent_pipeline.documents.root import Key
from agent_pipeline.errors import SchemaError, SignatureError, UnavailableError, UsageError

SECONDS: Final = 45.0  # somebody may have to confirm
MAX_MESSAGE: Final = 256 * 1024  # OpenSSH's own bound
MAX_KEYS: Final = 2048
_FAILURE, _LIST, _LISTED, _SIGN, _SIGNED = 5, 11, 12, 13, 14
_REFUSED: Final = (_FAILURE, 30, 102)  # with the numbers of older and of commercial agents


@dataclass(frozen=True, slots=True)
class Held:
    """A key that the agent holds, and the comment that it was added with."""

    key: Key
    comment: str


class Agent:
    """A conversation with the agent behind one socket. Every method raises `UnavailableError` when it goes wrong."""

    def __init__(self, connection: socket.socket, path: str, end: float) -> None:
        """Speak over `connection` until the monotonic moment `end`; `path` names the agent in errors."""
        self._connection, self._path, self._end = connection, path, end

    def held(self) -> tuple[Held, ...]:
        """Return the Ed25519 and P-256 keys, each once; certificates, hardware stubs and other schemes are left out."""
        reader = self._ask(_LIST, b"", _LISTED)
        found: dict[str, Held] = {}
        with self._understood():
            for _ in range(self._count(reader)):
                blob, comment = reader.string(), reader.string()
                with contextlib.suppress(SchemaError, SignatureError):
                    key = keys.key_from_blob(blob)
                    found.setdefault(key.keyid, Held(key, comment.decode("utf-8", "replace")))
            reader.finish()
        return tuple(found.values())

    def sign(self, key: Key, message: bytes) -> bytes:
        """Return a signature over `message` in the form of the key's scheme; nobody has verified it yet."""
        body = string(keys.openssh_blob(key)) + string(message) + bytes(4)
        if len(body) >= MAX_MESSAGE:
            raise UsageError(
                f"{len(message)} bytes are more than an ssh-agent signs ({MAX_MESSAGE})",
                hint="use a key file or a token for documents of this size",
            )
        reader = self._ask(_SIGN, body, _SIGNED)
        with self._understood():
            inner = reader.string()
            reader.finish()
            return sshsig.raw_signature(inner, key)

    def _count(self, reader: Reader) -> int:
        count = reader.uint32()
        if count > MAX_KEYS:
            raise SchemaError(f"it says that it holds {count} keys")
        return count

    def _ask(self, number: int, body: bytes, expected: int) -> Reader:
        with self._understood():
            self._connection.settimeout(self._left())
            self._connection.sendall(string(bytes([number]) + body))
            length = int.from_bytes(self._take(4), "big")
            if not 1 <= length <= MAX_MESSAGE:
                raise SchemaError(f"it announces {length} bytes")
            answer = self._take(length)
            if answer[0] in _REFUSED:
                raise UnavailableError(
                    f"the ssh-agent at {self._path} refuses",
                    hint="unlock it, confirm what it asks, or add the key again: ssh-add",
                )
            if answer[0] != expected:
                raise SchemaError(f"it answers with message {answer[0]}")
            return Reader(answer[1:], "its answer")

    def _take(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            self._connection.settimeout(self._left())
            part = self._connection.recv(size - len(data))
            if not part:
                raise SchemaError("it hangs up")
            data += part
        return bytes(data)

    def _left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise UnavailableError(
                f"the ssh-agent at {self._path} does not answer in time", hint="does it wait for a confirmation?"
            ) from error
        except OSError as error:
            raise UnavailableError(
                f"the ssh-agent at {self._path} is gone: {error.strerror or error}", hint="start it again, then ssh-add"
            ) from error
        except SchemaError as error:
            raise UnavailableError(
                f"what listens at {self._path} is no ssh-agent, or a broken one: {error.message}",
                hint="SSH_AUTH_SOCK names the agent's socket",
            ) from error


@contextlib.contextmanager
def connect(path: str | None, seconds: float = SECONDS) -> Iterator[Agent]:
    """Connect to the agent at the socket `path` for at most `seconds`.

    Raises `UsageError` when there is no path, `UnavailableError` when nobody listens there.
    """
    if not path:
        raise UsageError(
            "SSH_AUTH_SOCK is not set: there is no ssh-agent here", hint="start one: eval $(ssh-agent); ssh-add"
        )
    end = time.monotonic() + seconds
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(path)
        except (OSError, ValueError) as error:
            raise UnavailableError(
                f"no ssh-agent answers at {path}: {error}", hint="start one: eval $(ssh-agent); ssh-add"
            ) from error
        yield Agent(connection, path, end)
