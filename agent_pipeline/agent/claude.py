"""The engine `claude`: each turn is one streamed request of the Messages API with the whole history.

The key is passed explicitly, so that the SDK discovers no other; redirects are not followed, so that only the listed
endpoint is asked; waits that a server asks for are capped. An answer that is lost on the way is asked for again, and
what it may have cost is counted.
"""

from __future__ import annotations

from typing import Any, Final

from agent_pipeline import clock
from agent_pipeline.agent import sdk_errors
from agent_pipeline.agent.answer import Collector, MalformedError
from agent_pipeline.agent.attempts import Attempts
from agent_pipeline.agent.outcome import Outcome
from agent_pipeline.agent.recorder import Recorder
from agent_pipeline.agent.source import Turn
from agent_pipeline.documents.words import counted
from agent_pipeline.errors import ModelError, UsageError
from agent_pipeline.mediator.budget import Budget
from agent_pipeline.mediator.events import Sink

RETRIES: Final = 4  # of one request, by the SDK, before an answer begins
RESENDS: Final = 2  # of one turn, by us, when an answer breaks off
_PAUSE: Final = 0.25


class Claude:
    """A source of turns. `close` when done."""

    def __init__(
        self, *, api_key: str | None, base_url: str, model: str, budget: Budget, recorder: Recorder, sink: Sink
    ) -> None:
        """Make the client; nothing is sent yet. Raises `UsageError` without a key."""
        import anthropic  # noqa: PLC0415 - the SDK alone takes half a second to import

        if not api_key:
            raise UsageError("there is no API key for the engine claude", hint="set ANTHROPIC_API_KEY")
        self._model, self._budget, self._recorder = model, budget, recorder
        self.served: set[str] = set()
        self._attempts = Attempts(budget, recorder, sink)
        self._client = anthropic.Anthropic(
            api_key=api_key,
            base_url=base_url,
            max_retries=RETRIES,
            open_telemetry=False,
            http_client=anthropic.DefaultHttpxClient(follow_redirects=False),
            middleware=[self._attempts],
        )
        self._check_headers(api_key)
        self.sdk = anthropic.__version__

    @property
    def api_version(self) -> str:
        """The `anthropic-version` that is sent."""
        return str(self._client.default_headers["anthropic-version"])

    def close(self) -> None:
        """Give up the connections."""
        self._client.close()

    def _check_headers(self, api_key: str) -> None:
        """Refuse what ANTHROPIC_CUSTOM_HEADERS could smuggle in: another key, or a beta that no provenance names."""
        headers = {name.lower(): value for name, value in self._client.default_headers.items()}
        foreign = [n for n in headers if n == "x-api-key" or (n.startswith("anthropic-") and n != "anthropic-version")]
        if foreign or headers.get("authorization") != f"Bearer {api_key}":
            self.close()
            raise UsageError(
                f"headers from the environment change what is asked: {', '.join(foreign) or 'authorization'}",
                hint="unset ANTHROPIC_CUSTOM_HEADERS",
            )

    def answer(self, request: dict[str, Any], request_digest: str, step: int) -> Turn:
        """Ask, again when the answer breaks off. Raises `ModelError`, `Stopped`."""
        del request_digest
        for sent in range(1, RESENDS + 2):
            collector = Collector()
            try:
                return self._checked(self._stream(request, collector))
            except MalformedError as error:
                self._budget.charge(collector.usage)
                self._recorder.note("lost answer", f"step {step}, sending {sent}: {error}")
                if sent > RESENDS:
                    raise ModelError(
                        f"the model's answer was cut off or malformed {sent} times: {error}",
                        hint="try again later; if it stays, look at what stands between here and the endpoint",
                    ) from error
                clock.sleep(min(_PAUSE * sent, self._budget.seconds_left()))
        raise AssertionError  # pragma: no cover - the loop returns or raises

    def _stream(self, request: dict[str, Any], collector: Collector) -> Turn:
        call = self._client.messages.stream(model=self._model, **request)
        with sdk_errors.translated(self._model), call as stream:
            for event in stream:
                collector.take(event)
            if not collector.complete:
                raise MalformedError("the stream ended before the answer did")
            return collector.turn(stream.get_final_message(), stream.request_id)

    def _checked(self, turn: Turn) -> Turn:
        self.served.add(str(turn.model))
        if turn.model != self._model:
            raise ModelError(
                f"{self._model} was asked, but {turn.model} answered",
                hint="name the model by its full id, and look at what stands between here and the endpoint",
            )
        return turn

    def witness(self, record: dict[str, Any]) -> None:
        """A model has nothing to compare with."""

    def finish(self, outcome: Outcome) -> None:
        """Note how often was asked: the provider may bill an answer that never arrived."""
        del outcome
        if self._attempts.count != self._budget.steps:
            sent = counted(self._attempts.count, "request was", "requests were")
            self._recorder.note("attempts", f"{sent} sent for {counted(self._budget.steps, 'step')}")
