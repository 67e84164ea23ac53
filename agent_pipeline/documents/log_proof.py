"""What the shared log says about one request, provable by the newest entry's signature alone.

The form in which a verifier is given the log: as large as what there is to say, however long the log.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import ClassVar

from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.form import Document
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.statement import Statement
from agent_pipeline.errors import SchemaError
from agent_pipeline.frozen import frozen


@frozen
class LogProof(Document):
    """`head` is the newest entry's envelope (None: the log is empty), `request` the id that is asked about.

    `entries` are the envelopes of all entries before the head that are about `request` or about everything, by index;
    `nodes` those of the log's map that prove it, from the root down. All are bytes in standard base64.
    """

    STEM: ClassVar[str] = "log_proof"
    MAX_BYTES: ClassVar[int] = 16 << 20

    version: int
    request: str
    entries: tuple[str, ...]
    nodes: tuple[str, ...]
    head: str | None = None

    @classmethod
    def of(cls, request: str, head: bytes | None, entries: Sequence[bytes], nodes: Sequence[bytes]) -> LogProof:
        """Make a proof of bytes."""
        return cls(
            1,
            request,
            tuple(_text(data) for data in entries),
            tuple(_text(data) for data in nodes),
            None if head is None else _text(head),
        )

    @property
    def head_envelope(self) -> bytes | None:
        """The newest entry's envelope. Raises `SchemaError` for what is no base64; so do all of these."""
        return None if self.head is None else _bytes(self.head)

    @property
    def size(self) -> int:
        """How many entries the log has, as the newest one says: a claim until it is verified."""
        head = self.head_envelope
        if head is None:
            return 0
        return LogEntry.from_statement(Statement.from_json(Envelope.from_json(head).payload)).index + 1

    @property
    def entry_envelopes(self) -> tuple[bytes, ...]:
        """The envelopes of the entries."""
        return tuple(_bytes(text) for text in self.entries)

    @property
    def node_bytes(self) -> tuple[bytes, ...]:
        """The nodes of the log's map."""
        return tuple(_bytes(text) for text in self.nodes)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SchemaError(f"the log's proof is not base64: {error}") from error
    if _text(data) != text:
        raise SchemaError("the log's proof is base64 with stray bits")
    return data
