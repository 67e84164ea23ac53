"""Which members a document can have, by its schema, and which of them none of some documents has."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

from support.leaves import Path

from agent_pipeline.documents import schema as schemas

ANY = None  # in a place: whatever item of a list, whatever name in a map
# What a schema says of a value without naming anything in it, and what names something.
PLAIN = {
    "$schema", "$id", "$defs", "title", "description", "type", "const", "enum", "pattern", "minLength", "maxLength",
    "minimum", "maximum", "minItems", "maxItems", "uniqueItems", "required", "dependentRequired", "maxProperties",
    "propertyNames",
}  # fmt: skip
NAMING = {"properties", "prefixItems", "items", "additionalProperties"}
ALSO = {"allOf", "anyOf", "oneOf", "if", "then", "else", "not"}


def places(schema: Any, at: Path = (), whole: Any = None) -> Iterator[Path]:
    """Every place that a schema describes: members by name, items of a row by number, all others as `ANY`."""
    whole = whole if whole is not None else schema
    if isinstance(schema, bool):  # forbidden there, and described elsewhere
        return
    if "$ref" in schema:
        schema = whole["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    assert not schema.keys() - PLAIN - NAMING - ALSO, f"nobody knows what these name: {schema.keys()}"
    if at:
        yield at
    for name, inner in schema.get("properties", {}).items():
        yield from places(inner, (*at, name), whole)
    for number, inner in enumerate(schema.get("prefixItems", ())):
        yield from places(inner, (*at, number), whole)
    for inner in (schema.get("items", False), schema.get("additionalProperties", False)):
        yield from places(inner, (*at, ANY), whole)
    for word in ALSO & schema.keys():
        for inner in schema[word] if isinstance(schema[word], list) else [schema[word]]:
            yield from places(inner, at, whole)


def of_statement(stem: str) -> set[Path]:
    """The places of a statement whose predicate is a document `stem`."""
    statement, predicate = copy.deepcopy(schemas.load("statement")), copy.deepcopy(schemas.load(stem))
    if stem == "test_result":  # its description says so
        predicate["properties"]["x-agent-pipeline"] = schemas.load("replay_result")
    statement["properties"]["predicate"] = predicate
    return set(places(statement))


def of_records() -> set[Path]:
    """The places of a transcript, whose records are of several types: each behind its type."""
    kinds = schemas.load("transcript")["oneOf"]
    return {(kind["properties"]["type"]["const"], *place) for kind in kinds for place in places(kind)}


def missing(wanted: Iterable[Path], paths: Iterable[Path]) -> set[Path]:
    """Those places in which none of `paths` ends, nor goes on."""
    there = {path[:length] for path in paths for length in range(1, len(path) + 1)}
    return {place for place in wanted if not any(_at(path, place) for path in there)}


def _at(path: Path, place: Path) -> bool:
    return len(path) == len(place) and all(want is ANY or part == want for part, want in zip(path, place, strict=True))
