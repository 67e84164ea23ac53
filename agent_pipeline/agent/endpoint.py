"""Which endpoint is asked, as an origin that a policy can list and a provenance can name."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from agent_pipeline.documents.policy import Policy
from agent_pipeline.errors import PolicyError, UsageError
from agent_pipeline.policy import rules

DEFAULT: Final = "https://api.anthropic.com"
_PORTS: Final = {"http": 80, "https": 443}


def origin(url: str) -> str:
    """Return scheme://host[:port] of `url`, lower case, without a default port. Raises `UsageError`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _unusable(url, str(error)) from error
    if parts.scheme not in _PORTS or not host:
        raise _unusable(url, "it is not an http or https URL")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise _unusable("(hidden)", "it must not carry a user, password, query or fragment")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port is not None and port != _PORTS[parts.scheme] else "")


def allowed(policy: Policy, url: str) -> str:
    """Return the origin of `url` when the policy lists it. Raises `PolicyError`, `UsageError`."""
    found = origin(url)
    reason = rules.endpoint_allowed(policy, found)
    if reason is not None:
        raise PolicyError(reason, hint="unset ANTHROPIC_BASE_URL, or land a policy that lists it")
    return found


def _unusable(url: str, why: str) -> UsageError:
    return UsageError(f"the model's endpoint {url} cannot be used: {why}", hint="mend or unset ANTHROPIC_BASE_URL")
