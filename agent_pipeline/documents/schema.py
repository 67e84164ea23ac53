"""The authority on every document's form: `schemas/<document>.schema.json` (JSON Schema 2020-12).

Validators are compiled once per schema. No reference leaves the folder: a schema never loads anything from elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from agent_pipeline.errors import SchemaError


def data_folder(name: str) -> Path:
    """Return the folder `name` of the package's data: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_data" / name
    return installed if installed.is_dir() else package.parent / name


@cache
def load(stem: str) -> dict[str, Any]:
    """Return the schema of the document `stem`."""
    path = data_folder("schemas") / f"{stem}.schema.json"
    schema: dict[str, Any] = json.loads(path.read_bytes())
    return schema


@cache
def _validator(stem: str) -> Any:  # noqa: ANN401 - jsonschema's protocol class, imported late for the command line's sake
    from jsonschema import Draft202012Validator, validators  # noqa: PLC0415 - 80 ms that `--help` does not need

    strict = validators.extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]  # jsonschema types it not
    return strict(load(stem))


def _pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[Exception]:  # noqa: ANN401 - jsonschema's signature
    """Compare with the whole of the text: Python's `$`, unlike JSON Schema's, also matches before a last newline."""
    from jsonschema import ValidationError  # noqa: PLC0415 - as above

    if isinstance(value, str) and re.search(f"{pattern[:-1]}\\Z" if pattern.endswith("$") else pattern, value) is None:
        yield ValidationError(f"{value[:100]!r} does not match {pattern!r}")


def validate(stem: str, value: Any, *, what: str | None = None) -> None:  # noqa: ANN401 - any JSON value
    """Check `value` against the schema of `stem`. Raises `SchemaError` naming the place and the rule."""
    error = next(iter(sorted(_validator(stem).iter_errors(value), key=lambda e: [str(p) for p in e.path])), None)
    if error is None:
        return
    where = "/".join(str(part) for part in error.absolute_path) or "the document itself"
    raise SchemaError(
        f"{what or stem}: {where}: {error.message[:300]}",
        hint=f"its form is written down in schemas/{stem}.schema.json",
    )
