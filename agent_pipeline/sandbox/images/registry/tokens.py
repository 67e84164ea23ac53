"""How a registry is told who asks: Basic (RFC 7617), or a bearer token from the place that it names.

`https://distribution.github.io/distribution/spec/auth/token/`. The scope that is asked for is our own repository and
what we mean to do there, whatever a registry would have us ask for.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from agent_pipeline.documents import strict
from agent_pipeline.errors import RejectedError, SchemaError, UnavailableError
from agent_pipeline.sandbox.images.registry import credentials
from agent_pipeline.sandbox.images.registry.reference import Reference, is_loopback

if TYPE_CHECKING:
    import requests

_TIMEOUT: Final = (20.0, 60.0)
_MAX: Final = 256 << 10
_PARAMETER: Final = re.compile(r'([a-z]{1,20})="([^"\\]{0,2000})"', re.IGNORECASE)
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,65536}")


class Tokens:
    """The `Authorization` header for one repository, found when the registry first asks for it."""

    def __init__(self, session: requests.Session, reference: Reference, *, write: bool) -> None:
        """Remember for what; nothing is asked and nothing read yet."""
        self._session, self._reference = session, reference
        self._scope = f"repository:{reference.repository}:{'pull,push' if write else 'pull'}"
        self.header: dict[str, str] = {}
        self.known = False

    def renew(self, challenge: str) -> bool:
        """Find credentials that answer the challenge; whether there is something new to ask with.

        Raises `UnavailableError` when the place for tokens gives none, `RejectedError` for one that is not safe to ask.
        """
        who = credentials.find(self._reference.host)
        self.known = who is not None
        scheme = challenge.partition(" ")[0].lower()
        if scheme == "bearer":
            value = "Bearer " + self._bearer(challenge, who)
        elif scheme == "basic" and who is not None and who.refresh is None:
            value = who.basic()
        else:
            return False
        fresh = self.header.get("Authorization") != value
        self.header = {"Authorization": value}
        return fresh

    def _bearer(self, challenge: str, who: credentials.Credentials | None) -> str:
        given = {name.lower(): value for name, value in _PARAMETER.findall(challenge)}
        realm = self._safe(given.get("realm", ""))
        asked = {"service": given.get("service", self._reference.host), "scope": self._scope}
        headers = {"Accept-Encoding": "identity"}
        if who is not None and who.refresh is not None:
            form = asked | {"grant_type": "refresh_token", "refresh_token": who.refresh, "client_id": "agent-pipeline"}
            return self._token("POST", realm, headers, data=form)
        if who is not None:
            headers["Authorization"] = who.basic()
        return self._token("GET", realm, headers, params=asked)

    def _safe(self, realm: str) -> str:
        """Return the place for tokens. Raises `RejectedError` where a password would go in plain text."""
        parts, own = urlsplit(realm), is_loopback(urlsplit(self._reference.origin).hostname or "")
        near = is_loopback(parts.hostname or "")
        if near != own or parts.username is not None or parts.scheme not in (("http", "https") if own else ("https",)):
            raise RejectedError(
                f"{self._reference.host} sends for a token to {parts.scheme}://{parts.hostname}"[:300]
                + ", which is not asked",
                hint="tokens are asked for over https; by a registry on this machine's loopback, from there",
            )
        return realm

    def _token(
        self,
        method: str,
        realm: str,
        headers: dict[str, str],
        *,
        data: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
    ) -> str:
        import requests  # noqa: PLC0415 - imported by who made the session
        import urllib3  # noqa: PLC0415 - the same

        host = urlsplit(realm).hostname
        try:
            with self._session.request(
                method, realm, headers=headers, data=data, params=params,
                stream=True, timeout=_TIMEOUT, allow_redirects=False,
            ) as answer:  # fmt: skip
                code, body = answer.status_code, answer.raw.read(_MAX + 1, decode_content=False)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError):
            raise UnavailableError(f"{host}, which gives tokens for {self._reference.host}, does not answer") from None
        if code != HTTPStatus.OK:
            raise UnavailableError(
                f"{host} gives no token for {self._reference.repository} ({code})",
                hint=f"docker login {self._reference.host}",
            )
        try:
            document = strict.parse(body, what="the answer with the token", max_bytes=_MAX)
            token = document.get("token") or document["access_token"]
        except (SchemaError, KeyError, TypeError, AttributeError):
            token = None
        if not isinstance(token, str) or _TOKEN.fullmatch(token) is None:
            raise UnavailableError(f"{host} answers with something that is no token")
        return token
