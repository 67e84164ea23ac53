"""The record of a run: JSON lines, one per event, in order, with a header first and an end last.

A truncated transcript has no end record, and the end record counts the lines. The `recorded` engine plays such a file.
"""

from __future__ import annotations

from typing import Any, Final

from agent_pipeline.documents import schema, strict
from agent_pipeline.errors import SchemaError

STEM: Final = "transcript"
MAX_BYTES: Final = 64 << 20
MAX_LINE: Final = 8 << 20  # bytes of one record
MAX_RECORDS: Final = 20_000


def line(record: dict[str, Any]) -> bytes:
    """Return one canonical line with its newline. Raises `SchemaError` for a record without the schema's form."""
    schema.validate(STEM, record)
    return strict.canonical(record) + b"\n"


def parse(data: bytes) -> list[dict[str, Any]]:
    """Read a whole transcript. Raises `SchemaError` when it is not complete."""
    if len(data) > MAX_BYTES:
        raise SchemaError(f"the transcript has {len(data)} bytes; at most {MAX_BYTES} are read")
    if not data.endswith(b"\n"):
        raise SchemaError("the transcript is not complete: the newline that ends its last line is missing")
    if data.count(b"\n") > MAX_RECORDS:
        raise SchemaError(f"the transcript has more than {MAX_RECORDS} records")
    records: list[dict[str, Any]] = []
    # By newlines alone, as they were counted: a bare carriage return is white space to JSON.
    for number, text in enumerate(data[:-1].split(b"\n"), 1):
        value = strict.parse(text, what=f"line {number} of the transcript", max_bytes=MAX_LINE)
        schema.validate(STEM, value, what=f"line {number} of the transcript")
        records.append(value)
    if not records or records[0]["type"] != "header" or records[-1]["type"] != "end":
        raise SchemaError("the transcript is not complete: it starts with a header and finishes with an end record")
    if records[-1]["records"] != len(records):
        raise SchemaError(f"the transcript has {len(records)} records, its end says {records[-1]['records']}")
    return records
