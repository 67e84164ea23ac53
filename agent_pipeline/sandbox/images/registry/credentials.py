"""As whom a registry is spoken to: what `docker login` wrote down, found by the Docker SDK.

That is `config.json` in `DOCKER_CONFIG`, or `~/.docker`, with its credential stores and helpers; no engine is needed.
What is found stays in memory, in no message and in no representation.
"""

from __future__ import annotations

import base64
import warnings
from dataclasses import dataclass, field

from agent_pipeline.errors import UnavailableError


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name with a password, or a refresh token. Both are left out of what `repr` shows."""

    username: str = ""
    password: str = field(default="", repr=False)
    refresh: str | None = field(default=None, repr=False)

    def basic(self) -> str:
        """Return the value of an `Authorization` header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def find(host: str) -> Credentials | None:
    """Return what is known for a registry, None where nothing is. Raises `UnavailableError` for what is unreadable."""
    from docker import auth  # noqa: PLC0415 - 150 ms that only registries need
    from docker.errors import DockerException  # noqa: PLC0415 - the same

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a helper that is not installed is an error below
            found = auth.load_config().resolve_authconfig(host) or {}
    except (DockerException, OSError, ValueError, KeyError, AttributeError, TypeError):
        # Nothing of the cause: it may quote what it could not read.
        raise UnavailableError(
            f"Docker's configuration has credentials for {host} that cannot be read",
            hint=f"`docker login {host}` writes them anew; a credential helper must be in PATH",
        ) from None
    values = {str(name).lower(): value for name, value in found.items() if isinstance(value, str)}
    if "identitytoken" in values:
        return Credentials(refresh=values["identitytoken"])
    if "username" not in values:
        return None
    return Credentials(values["username"], values.get("password", ""))
