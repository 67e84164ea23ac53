"""The authority on every document's form: `schemas/<document>.schema.json` (JSON Schema 2020-12).

Two implementations read each schema. The compiled one answers first; where it says yes, that is the answer, and a test
holds it to what the other says. The other one is asked where it says no: it finds the place and the words. No reference
leaves the folder: a schema never loads anything from elsewhere.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from agent_pipeline.errors import SchemaError

if TYPE_CHECKING:
    from pathlib import Path


def data_folder(name: str) -> Path:
    """Return the folder `name` of the package's data: beside the package in a checkout, inside it when installed."""
    from pathlib import Path  # noqa: PLC0415 - and urllib with it: 10 ms for a verifier, who reads schemas alone

    return Path(_folder(name))


def _folder(name: str) -> str:
    package = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120 - as `data_folder` says
    installed = os.path.join(package, "_data", name)  # noqa: PTH118 - the same
    return installed if os.path.isdir(installed) else os.path.join(os.path.dirname(package), name)  # noqa: PTH112, PTH118, PTH120 - the same


@cache
def load(stem: str) -> dict[str, Any]:
    """Return the schema of the document `stem`."""
    with open(os.path.join(_folder("schemas"), f"{stem}.schema.json"), "rb") as file:  # noqa: PTH118, PTH123 - as above
        schema: dict[str, Any] = json.load(file)
    return schema


def holds(stem: str, value: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Return whether `value` has the form of `stem`, by the compiled validator alone.

    It takes 1.0 for an integer, as JSON Schema does. No reader of ours lets such a number in.
    """
    try:
        answer: bool = _compiled(stem).is_valid(value)
    except ValueError:  # it takes JSON alone: no lone surrogates, no members that are not named by text
        return False
    return answer


def first_error(stem: str, value: Any) -> Any | None:  # noqa: ANN401 - any JSON value; jsonschema's error
    """Return the first thing that is wrong with `value`, or None: not all, a hostile list could have millions."""
    return next(_explaining(stem).iter_errors(value), None)


def validate(stem: str, value: Any, *, what: str | None = None) -> None:  # noqa: ANN401 - any JSON value
    """Check `value` against the schema of `stem`. Raises `SchemaError` naming the place and the rule."""
    if holds(stem, value):
        return
    error = first_error(stem, value)
    where, why = "the document itself", "it is no JSON, or two validators disagree about it"
    if error is not None:
        where, why = "/".join(str(part) for part in error.absolute_path) or where, error.message[:300]
    raise SchemaError(
        f"{what or stem}: {where}: {why}",
        hint=f"its form is written down in schemas/{stem}.schema.json",
    )


@cache
def _compiled(stem: str) -> Any:  # noqa: ANN401 - jsonschema_rs' class, imported late for the command line's sake
    import jsonschema_rs  # noqa: PLC0415 - 10 ms that `--help` does not need

    return jsonschema_rs.Draft202012Validator(load(stem))


@cache
def _explaining(stem: str) -> Any:  # noqa: ANN401 - jsonschema's protocol class, as above
    from jsonschema import Draft202012Validator, validators  # noqa: PLC0415 - 80 ms that only a no needs

    plain = Draft202012Validator.VALIDATORS
    strict = validators.extend(  # type: ignore[no-untyped-call]  # jsonschema types it not
        Draft202012Validator,
        {"pattern": _pattern, "items": partial(_items, plain["items"]), "maxItems": _most, "uniqueItems": _unique},
        type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
    )
    return strict(load(stem))


def _is_integer(_checker: Any, value: Any) -> bool:  # noqa: ANN401 - jsonschema's signature
    """Take 1.0 for no integer: JSON Schema does, and no document of ours holds it."""
    return isinstance(value, int) and not isinstance(value, bool)


def _items(plain: Any, validator: Any, items: Any, value: Any, schema: Any) -> Iterator[Exception]:  # noqa: ANN401 - jsonschema's signature
    """Look at no item of a list that is too long: `maxItems` says so."""
    most = schema.get("maxItems")
    if not isinstance(value, list) or most is None or len(value) <= most:
        yield from plain(validator, items, value, schema)


def _most(_validator: Any, most: Any, value: Any, _schema: Any) -> Iterator[Exception]:  # noqa: ANN401 - jsonschema's signature
    """Say that a list is too long, without writing it out."""
    from jsonschema import ValidationError  # noqa: PLC0415 - as above

    if isinstance(value, list) and len(value) > most:
        yield ValidationError(f"{len(value)} items; at most {most} are read")


def _unique(_validator: Any, unique: Any, value: Any, _schema: Any) -> Iterator[Exception]:  # noqa: ANN401 - jsonschema's signature
    """Compare by one pass: jsonschema compares lists of mixed types pair by pair. Only strings are listed uniquely."""
    from jsonschema import ValidationError  # noqa: PLC0415 - as above

    if unique and isinstance(value, list):
        texts = [item for item in value if isinstance(item, str)]
        if len(set(texts)) != len(texts):
            yield ValidationError("the same text stands in the list twice")


def _pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[Exception]:  # noqa: ANN401 - jsonschema's signature
    """Compare with the whole of the text: Python's `$`, unlike JSON Schema's, also matches before a last newline."""
    from jsonschema import ValidationError  # noqa: PLC0415 - as above

    if isinstance(value, str) and re.search(f"{pattern[:-1]}\\Z" if pattern.endswith("$") else pattern, value) is None:
        yield ValidationError(f"{value[:100]!r} does not match {pattern!r}")
