"""The SDK's exceptions, and those of what it is built on, become ours: `ModelError` with what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from agent_pipeline.agent.answer import MalformedError
from agent_pipeline.agent.outcome import Outcome
from agent_pipeline.agent.source import Stopped
from agent_pipeline.errors import ModelError
from agent_pipeline.mediator.redaction import redact
from agent_pipeline.mediator.visible import visible

if TYPE_CHECKING:
    import anthropic

_HINTS: Final = {
    400: "the request does not suit the model; name another one with --model",
    401: "look at ANTHROPIC_API_KEY",
    402: "look at the account's billing",
    403: "the key may not use this model or endpoint",
    404: "look at the model's name (--model) and at ANTHROPIC_BASE_URL",
    413: "the conversation is too long for the endpoint; ask for less at once",
    429: "wait, or ask for a higher rate limit",
    529: "the provider is overloaded; try again later",
}
# In mid-stream an error arrives as an event after HTTP 200; these are the provider's passing troubles.
_PASSING: Final = ("overloaded_error", "api_error", "timeout_error", "rate_limit_error")
_OK: Final = 200
_REDIRECT: Final = range(300, 400)
_TOO_LARGE: Final = 413
# What reading a malformed stream raises inside the SDK, which builds its objects without validating them.
_STUMBLES: Final = (ValueError, TypeError, AttributeError, LookupError, RuntimeError, AssertionError)


@contextmanager
def translated(model: str) -> Iterator[None]:
    """Translate what the block raises: `MalformedError` when asking again may help, `ModelError` when not."""
    import anthropic  # noqa: PLC0415 - imported already, by whoever made the client
    import httpx2  # noqa: PLC0415 - the same

    try:
        yield
    except anthropic.APIStatusError as error:
        raise _status(error, model) from error
    except anthropic.APIConnectionError as error:
        raise ModelError(
            f"the model is unreachable: {_clean(str(error.__cause__ or error))}",
            hint="look at the network and at ANTHROPIC_BASE_URL, then try again",
        ) from error
    except anthropic.AnthropicError as error:
        raise ModelError(
            f"the model's answer could not be read: {_clean(str(error))}", hint="look at ANTHROPIC_BASE_URL"
        ) from error
    except httpx2.HTTPError as error:
        raise MalformedError(f"the connection broke off: {_clean(str(error)) or type(error).__name__}") from error
    except _STUMBLES as error:
        raise MalformedError(f"an event is malformed: {_clean(str(error)) or type(error).__name__}") from error


def _status(error: anthropic.APIStatusError, model: str) -> Exception:
    said = _clean(error.api_message or error.message)
    if error.status_code == _OK:
        kind = error.type or "error"
        if kind in _PASSING:
            return MalformedError(f"the answer broke off with {kind}: {said}")
        return ModelError(f"the model's answer broke off with {kind}: {said}", hint=_HINTS[400])
    if error.status_code == _TOO_LARGE:
        return Stopped(Outcome.CONTEXT, f"the endpoint takes no request as long as this one: {said}")
    if error.status_code in _REDIRECT:
        return ModelError(
            f"the endpoint redirects elsewhere (HTTP {error.status_code}), which is not followed",
            hint="name the endpoint itself in ANTHROPIC_BASE_URL and in the policy",
        )
    return ModelError(
        f"the endpoint refused the request for {model} with HTTP {error.status_code}: {said}",
        hint=_HINTS.get(error.status_code, "try again later"),
    )


def _clean(text: str) -> str:
    """Return a foreign message fit for a terminal: short, one line, no control characters, no secrets."""
    return visible(redact(text[:4000])[0])
