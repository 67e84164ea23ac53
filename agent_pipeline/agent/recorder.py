"""Writes a transcript as it happens, so that a run that is cut off leaves what it had."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent_pipeline.agent.outcome import Outcome
from agent_pipeline.documents import transcript


class Recorder:
    """Collects the lines; `sink`, if any, gets each as soon as it is written."""

    def __init__(self, sink: Callable[[bytes], None] | None = None, notes: tuple[tuple[str, str], ...] = ()) -> None:
        """Begin an empty transcript; `notes` will follow its first record."""
        self._sink, self._notes, self._ended = sink, notes, False
        self._lines: list[bytes] = []

    @property
    def records(self) -> int:
        """How many lines there are."""
        return len(self._lines)

    @property
    def data(self) -> bytes:
        """The transcript so far; complete after `end`."""
        return b"".join(self._lines)

    def add(self, record: dict[str, Any]) -> None:
        """Write one record. Raises `SchemaError` when it has not the schema's form."""
        self._write(transcript.line(record))
        notes, self._notes = self._notes, ()
        for event, detail in notes:
            self.note(event, detail)

    def note(self, event: str, detail: str) -> None:
        """Write a note."""
        self.add({"type": "note", "event": event, "detail": detail})

    def end(self, outcome: Outcome, detail: str) -> None:
        """Write the end record, once; a transcript that has ended, or never began, stays as it is."""
        if self._ended or not self._lines:
            return
        self._ended = True
        record: dict[str, Any] = {"type": "end", "outcome": str(outcome), "records": self.records + 1}
        if detail:
            record["detail"] = detail[:2000]
        self._write(transcript.line(record))

    def _write(self, line: bytes) -> None:
        self._lines.append(line)
        if self._sink is not None:
            self._sink(line)
