"""Middleware around every HTTP attempt: time limits, capped waits, a note of everything that was not an answer."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from agent_pipeline import clock
from agent_pipeline.agent.outcome import Outcome
from agent_pipeline.agent.recorder import Recorder
from agent_pipeline.agent.source import Stopped
from agent_pipeline.errors import ModelError
from agent_pipeline.mediator.budget import Budget
from agent_pipeline.mediator.events import Event, Sink
from agent_pipeline.mediator.visible import visible

if TYPE_CHECKING:
    import httpx2
    from anthropic import APIRequest, APIResponse, CallNext

LONGEST_WAIT: Final = 60.0
_CONNECT: Final = 10.0
_SILENCE: Final = 300.0  # between two pieces of an answer; pings count as pieces
_MOST_BYTES: Final = 64 << 20
_FAILED: Final = 400


class Attempts:
    """Called by the SDK for each attempt, inside its retry loop."""

    def __init__(self, budget: Budget, recorder: Recorder, sink: Sink) -> None:
        """Watch for this run."""
        self._budget, self._recorder, self._sink = budget, recorder, sink
        self.count = 0

    def __call__(self, request: APIRequest, call_next: CallNext) -> APIResponse[Any]:
        """Send one attempt. Raises `Stopped` when the run's time is over."""
        import anthropic  # noqa: PLC0415 - imported already, by whoever made the client
        import httpx2  # noqa: PLC0415 - the same

        self.count += 1
        left = self._left()
        timeout = httpx2.Timeout(min(left, _SILENCE), connect=min(left, _CONNECT))
        try:
            response = call_next(request.copy(timeout=timeout))
        except anthropic.APIConnectionError as error:
            self._left()
            self._note(request, f"no connection: {error.__cause__ or error}")
            raise
        http = response.http_response
        http.stream = _timed(http.stream, self)
        if http.status_code >= _FAILED:
            self._note(request, f"HTTP {http.status_code}, request {http.headers.get('request-id', 'without id')}")
            _cap(http.headers, min(LONGEST_WAIT, self._left()))
        return response

    def _left(self) -> float:
        left = self._budget.seconds_left()
        if left <= 0:
            raise Stopped(Outcome.SECONDS, self._budget.explain("seconds"))
        return left

    def check(self, size: int) -> None:
        """Stop an answer that takes too long or grows too large."""
        self._left()
        if size > _MOST_BYTES:
            raise ModelError(f"one answer has more than {_MOST_BYTES} bytes", hint="look at the endpoint")

    def _note(self, request: APIRequest, what: str) -> None:
        text = visible(f"step {self._budget.steps}, attempt {request.retries_taken + 1}: {what}", 500)
        self._recorder.note("attempt", text)
        self._sink(Event("attempt", self._budget.steps, text, self._budget.usd, self._budget.tokens))


def _timed(stream: Any, attempts: Attempts) -> httpx2.SyncByteStream:  # noqa: ANN401 - httpx2's union of stream types
    """Wrap a body: pings keep a connection alive without an event that the loop would see, so time is checked here."""
    import httpx2  # noqa: PLC0415 - imported already, by whoever made the client

    class Timed(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            size = 0
            for chunk in stream:
                size += len(chunk)
                attempts.check(size)
                yield chunk

        def close(self) -> None:
            stream.close()

    return Timed()


def _cap(headers: Any, most: float) -> None:  # noqa: ANN401 - httpx2.Headers
    """Cap the wait that a server asks for: the SDK would obey up to seven weeks."""
    asked = _asked(headers)
    if asked is None:
        return
    headers.pop("retry-after-ms", None)
    headers["retry-after"] = f"{min(max(asked, 0.0), most):.3f}"


def _asked(headers: Any) -> float | None:  # noqa: ANN401 - httpx2.Headers
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return float(value) / scale
        except ValueError:
            pass
        try:
            return (parsedate_to_datetime(value) - clock.now()).total_seconds()
        except (TypeError, ValueError):
            return LONGEST_WAIT  # unreadable: no reason to hurry
    return None
