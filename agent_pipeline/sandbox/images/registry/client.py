"""One repository at a registry, over HTTP (OCI distribution specification 1.1), with a registry that may be hostile.

What is received is bounded in bytes and time before it is looked at, and counts for nothing until its SHA-256 is right.
Credentials go to the registry's own origin, and to the place for tokens that it names; never in plain text beyond
loopback, never along a redirect. Only a blob's download follows one, as registries keep blobs in object stores. What a
registry says in words is not repeated: it could quote a credential.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self
from urllib.parse import urlencode, urljoin, urlsplit

from agent_pipeline import clock
from agent_pipeline.errors import RejectedError, UnavailableError
from agent_pipeline.sandbox.images.layers import open_plain
from agent_pipeline.sandbox.images.registry import manifest as manifests
from agent_pipeline.sandbox.images.registry.manifest import Blob
from agent_pipeline.sandbox.images.registry.reference import Reference, is_loopback
from agent_pipeline.sandbox.images.registry.tokens import Tokens

if TYPE_CHECKING:
    import requests

CONNECT: Final = 20.0  # seconds
READ: Final = 60.0  # between two reads
_SLOWEST: Final = 64 << 10  # bytes in a second; who sends less is cut off
_CHUNK: Final = 1 << 20
_HOPS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_STREAM: Final = "application/octet-stream"


class Registry:
    """Speaks to one repository. A context manager; the connections end with it."""

    def __init__(self, reference: Reference, *, write: bool = False) -> None:
        """Remember where; nothing is asked yet. `write` asks for the right to push."""
        self.reference = reference
        self._base = f"{reference.origin}/v2/{reference.repository}"
        self._session = _session(reference.origin)
        self._tokens = Tokens(self._session, reference, write=write)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._session.close()

    def manifest(self, digest: str) -> bytes:
        """Return the manifest with that SHA-256. Raises `RejectedError` for other bytes, `UnavailableError`."""
        address = f"{self._base}/manifests/sha256:{digest}"
        with self._asked("GET", address, {"Accept": manifests.ACCEPTED}) as answer:
            self._wants(answer, HTTPStatus.OK, f"{self.reference} is not there")
            data = b"".join(self._body(answer, manifests.MAX_BYTES, "its manifest"))
        if hashlib.sha256(data).hexdigest() != digest:
            raise RejectedError(f"{self.reference}: the registry sent another manifest than that of sha256:{digest}")
        return data

    def blob(self, blob: Blob) -> Iterator[bytes]:
        """Yield the bytes of a blob, exactly as many as the manifest says. Who reads compares the digest."""
        what = f"the blob sha256:{blob.digest[:12]}"
        with self._downloaded(f"{self._base}/blobs/sha256:{blob.digest}") as answer:
            self._wants(answer, HTTPStatus.OK, f"{self.reference}: {what} is not there")
            stated = answer.headers.get("Content-Length")
            if stated is not None and stated != str(blob.size):
                raise RejectedError(
                    f"{self.reference}: {what} is announced with {stated[:20]!r} bytes, the manifest says {blob.size}"
                )
            yield from self._body(answer, blob.size, what)

    def has(self, blob: Blob) -> bool:
        """Whether the registry has a blob. Raises `UnavailableError`, `RejectedError` where the size is another."""
        with self._asked("HEAD", f"{self._base}/blobs/sha256:{blob.digest}") as answer:
            if answer.status_code == HTTPStatus.NOT_FOUND:
                return False
            if answer.status_code in _REDIRECTS:
                return True  # it is there, in an object store
            self._wants(answer, HTTPStatus.OK, f"{self.reference}: the registry does not say what it has")
            stated = answer.headers.get("Content-Length", str(blob.size))
            if stated != str(blob.size):
                raise RejectedError(
                    f"{self.reference}: the registry has sha256:{blob.digest[:12]} with {stated[:20]!r} bytes, not"
                    f" {blob.size}",
                    hint="what it has is damaged: ask whoever runs it",
                )
            return True

    def upload(self, blob: Blob, path: Path) -> None:
        """Send a blob, in one piece. What does not come to its end is taken back. Raises `UnavailableError`."""
        what = f"{self.reference}: the registry does not take sha256:{blob.digest[:12]}"
        with self._asked("POST", f"{self._base}/blobs/uploads/") as answer:
            self._wants(answer, HTTPStatus.ACCEPTED, what)
            place = self._same_origin(answer, what)
        joint = "&" if urlsplit(place).query else "?"
        address = f"{place}{joint}{urlencode({'digest': f'sha256:{blob.digest}'})}"
        headers = {"Content-Type": _STREAM, "Content-Length": str(blob.size)}
        try:
            with open_plain(path) as file, self._asked("PUT", address, headers, file) as answer:
                self._wants(answer, HTTPStatus.CREATED, what)
        except BaseException:
            with suppress(Exception), self._asked("DELETE", place):
                pass  # a registry that does not answer forgets it in time
            raise

    def tag(self, name: str, manifest: bytes) -> None:
        """Store a manifest under a tag. Raises `UnavailableError`."""
        with self._asked(
            "PUT", f"{self._base}/manifests/{name}", {"Content-Type": manifests.MEDIA_TYPE}, manifest
        ) as answer:
            self._wants(answer, HTTPStatus.CREATED, f"{self.reference}: the registry does not take the manifest")

    @contextmanager
    def _downloaded(self, address: str) -> Iterator[requests.Response]:
        """Ask for a blob, along at most a few redirects, which carry no credentials."""
        with self._asked("GET", address) as answer:
            place = self._elsewhere(answer)
            if place is None:
                yield answer
                return
        for _ in range(_HOPS):
            with self._sent("GET", place) as answer:
                following = self._elsewhere(answer)
                if following is None:
                    yield answer
                    return
                place = following
        raise RejectedError(f"{self.reference}: the registry redirects more than {_HOPS} times")

    def _elsewhere(self, answer: requests.Response) -> str | None:
        """Return where an answer redirects to, None where it does not. Raises `RejectedError` for no place to go."""
        if answer.status_code not in _REDIRECTS:
            return None
        place = urljoin(answer.url, answer.headers.get("Location", ""))
        parts = urlsplit(place)
        near, here = is_loopback(parts.hostname or ""), is_loopback(urlsplit(self._base).hostname or "")
        safe = parts.scheme == "https" or (parts.scheme == "http" and near)
        if not safe or parts.username is not None or near != here:
            raise RejectedError(
                f"{self.reference}: the registry redirects elsewhere, to {parts.scheme}://{parts.hostname}"[:300],
                hint="a download may go on over https alone, and neither to this machine nor away from it",
            )
        return place

    def _same_origin(self, answer: requests.Response, what: str) -> str:
        place = urljoin(answer.url, answer.headers.get("Location", ""))
        if urlsplit(place)[:2] != urlsplit(self._base)[:2]:
            raise RejectedError(
                f"{what}: it wants it elsewhere, at {urlsplit(place).scheme}://{urlsplit(place).netloc}"[:300],
                hint="behind a proxy, the registry must be told its own address",
            )
        return place

    @contextmanager
    def _asked(
        self, method: str, address: str, headers: Mapping[str, str] | None = None, body: IO[bytes] | bytes | None = None
    ) -> Iterator[requests.Response]:
        """Ask with credentials; once more where they had to be found, or had run out."""
        with self._sent(method, address, self._tokens.header | dict(headers or {}), body) as answer:
            challenge = answer.headers.get("WWW-Authenticate", "")
            if answer.status_code != HTTPStatus.UNAUTHORIZED or not self._tokens.renew(challenge):
                yield answer
                return
        if body is not None and not isinstance(body, bytes):
            body.seek(0)
        with self._sent(method, address, self._tokens.header | dict(headers or {}), body) as answer:
            yield answer

    @contextmanager
    def _sent(
        self, method: str, address: str, headers: Mapping[str, str] | None = None, body: IO[bytes] | bytes | None = None
    ) -> Iterator[requests.Response]:
        import requests  # noqa: PLC0415 - imported by `_session` already

        plain = {"Accept-Encoding": "identity"} | dict(headers or {})
        try:
            answer = self._session.request(
                method, address, headers=plain, data=body, stream=True, timeout=(CONNECT, READ), allow_redirects=False
            )
        except (requests.RequestException, OSError, ValueError) as error:
            raise UnavailableError(
                f"{self.reference.host} does not answer: {_name(error)}",
                hint="is that registry reachable from here? `REQUESTS_CA_BUNDLE` names certificates of your own",
            ) from None  # its text may hold an address with a password in it
        with answer:
            yield answer

    def _body(self, answer: requests.Response, limit: int, what: str) -> Iterator[bytes]:
        """Yield a body of at most `limit` bytes. Raises `RejectedError` for more, `UnavailableError` for a stall."""
        import urllib3  # noqa: PLC0415 - imported by `_session` already

        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise RejectedError(f"{self.reference}: {what} comes in an encoding that nobody asked for")
        left, until = limit, clock.monotonic() + READ + limit / _SLOWEST
        try:
            while chunk := answer.raw.read1(min(_CHUNK, left + 1), decode_content=False):
                left -= len(chunk)
                if left < 0:
                    raise RejectedError(f"{self.reference}: {what} has more than {limit} bytes")
                if clock.monotonic() > until:
                    raise UnavailableError(f"{self.reference}: {what} comes too slowly", hint="try again")
                yield chunk
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise UnavailableError(f"{self.reference}: {what} was cut off: {_name(error)}", hint="try again") from None

    def _wants(self, answer: requests.Response, status: HTTPStatus, otherwise: str) -> None:
        """Raise `UnavailableError`, saying `otherwise` and why, unless the registry answered with `status`."""
        code = answer.status_code
        if code == status:
            return
        if code in _REDIRECTS:
            raise RejectedError(f"{otherwise}: the registry redirects elsewhere, which is not followed here")
        if code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            said = "with the credentials that it was given" if self._tokens.known else "without credentials"
            raise UnavailableError(
                f"{otherwise}: the registry refuses {said} ({code})", hint=f"docker login {self.reference.host}"
            )
        raise UnavailableError(f"{otherwise}: the registry answered {code}", hint="look at the name, or try again")


def _session(origin: str) -> requests.Session:
    """Return a session that takes nothing from the environment but certificates and, beyond loopback, a proxy."""
    import requests  # noqa: PLC0415 - 60 ms that `--help` does not need

    session = requests.Session()
    session.trust_env = False  # no ~/.netrc: what is not `docker login`'s is not the registry's
    if not is_loopback(urlsplit(origin).hostname or ""):
        session.proxies.update(requests.utils.get_environ_proxies(origin))
    names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
    session.verify = next((os.environ[name] for name in names if os.environ.get(name)), True)
    return session


def _name(error: BaseException) -> str:
    """Return what went wrong by its name alone, the innermost cause that has one."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
