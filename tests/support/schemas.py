"""Documents made from a schema, by chance but the same each time: valid ones, and ones with one thing changed."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

# What stands where something else belongs: of other types, at the borders, and what readers disagree about.
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 1.0, 1.5, 2**53, 2**70, "", "a", "a\n", "\n", "\u00e9", "\u0661", "\U0001f600",
    "0" * 64, "F" * 64, [], [None], {}, {"sha256": "0" * 64}, [[]],
)  # fmt: skip
# A text for every pattern; a new pattern wants one here.
TEXTS = {
    "^([0-9a-f]{40}|[0-9a-f]{64})$": "0a" * 20,
    "^(signed|replayed|regression|re-derived)$": "re-derived",
    "^/[a-z0-9/._-]{1,100}$": "/usr/lib",
    "^1\\.0\\.[0-9]+$": "1.0.31",
    "^ORG_[A-Z0-9_]+$": "ORG_SOURCE_X",
    "^[ -~]*$": "any ~ text",
    "^[0-9]{1,12}(\\.[0-9]{1,6})?$": "0.25",
    "^[0-9]{1,16}$": "12",
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$": "2026-01-31T12:00:00Z",
    "^[0-9a-f]{32}$": "ab" * 16,
    "^[0-9a-f]{64}$": "c0" * 32,
    "^[A-Z][A-Z0-9_]{0,60}$": "NAME",
    "^[A-Z][A-Z0-9_]{0,99}$": "NAME_1",
    "^[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*$": "bin/a.b+c",
    "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}$": "file.py",
    "^[\\x21-\\x7e]+$": "application/vnd.in-toto+json",
    "^[a-z0-9-]{1,40}@[0-9]{1,6}$": "fix@1",
    "^[a-z0-9._-]{1,60}$": "a.b-c_d",
    "^[a-z0-9][A-Za-z0-9:/._-]{0,300}@sha256:[0-9a-f]{64}$": "a/b:c@sha256:" + "0" * 64,
    "^[a-z0-9][a-z0-9+.-]{1,100}$": "libc6",
    "^[a-z0-9][a-z0-9._-]{0,62}$": "ada",
    "^[a-z2-7]{16}$": "abcdefgh234567ab",
    "^[a-z2-7]{16}\\.[1-9][0-9]{0,5}$": "abcdefgh234567ab.1",
    "^[a-z][a-z0-9-]{0,30}$": "quick",
    "^[a-z]{2,30}$": "bookworm",
    "^https?://[^/]+$": "https://example.org",
    "^refs/heads/[^\\x00-\\x20~^:?*\\[\\\\\\x7f]+$": "refs/heads/main",
    "^refs/heads/agent/[a-z2-7]{16}$": "refs/heads/agent/abcdefgh234567ab",
}


def make(schema: dict[str, Any], chance: Random, root: dict[str, Any] | None = None) -> Any:
    """A document of `schema`, but for rules between its members (`if`, `contains`, ...), which it may break."""
    root = root if root is not None else schema
    if "$ref" in schema:
        return make(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], chance, root)
    if "const" in schema:
        return schema["const"]
    choices = schema.get("enum") or [make(one, chance, root) for one in schema.get("oneOf", schema.get("anyOf", ()))]
    if choices:
        return chance.choice(choices)
    return _OF_TYPE[schema.get("type", "string")](schema, chance, root)


def _text(schema: dict[str, Any], chance: Random, _root: dict[str, Any]) -> str:
    if "pattern" in schema:
        return TEXTS[schema["pattern"]]
    least = schema.get("minLength", 0)
    return chance.choice(("é", "x", "\U0001f600")) * min(schema.get("maxLength", 99), least + chance.choice((0, 1, 3)))


def _list(schema: dict[str, Any], chance: Random, root: dict[str, Any]) -> list[Any]:
    if "prefixItems" in schema:
        return [make(one, chance, root) for one in schema["prefixItems"]]
    count = max(schema.get("minItems", 0), chance.choice((0, 1)))
    return [make(schema.get("items", {}), chance, root) for _ in range(count)]


def _object(schema: dict[str, Any], chance: Random, root: dict[str, Any]) -> dict[str, Any]:
    required = schema.get("required", ())
    value = {
        name: make(one, chance, root)
        for name, one in schema.get("properties", {}).items()
        if name in required or chance.random() < 1 / 2
    }
    rest = schema.get("additionalProperties")
    if isinstance(rest, dict) and chance.random() < 1 / 2:
        value[make(schema.get("propertyNames", {}), chance, root)] = make(rest, chance, root)
    return value


def _integer(schema: dict[str, Any], chance: Random, _root: dict[str, Any]) -> int:
    least: int = schema.get("minimum", -5)
    return least + chance.choice((0, 1, 17))


def _boolean(_schema: dict[str, Any], chance: Random, _root: dict[str, Any]) -> bool:
    return chance.choice((True, False))


_OF_TYPE = {"object": _object, "array": _list, "string": _text, "integer": _integer, "boolean": _boolean}


def bend(document: Any, chance: Random) -> Any:
    """The document with one value, anywhere, replaced, left out, stretched, or given a neighbour."""
    holder = {"document": copy.deepcopy(document)}
    where, name = chance.choice(list(_places(holder)))
    at = where[name]
    match chance.choice(("replace", "remove", "grow", "grow")):
        case "remove" if where is not holder:
            del where[name]
        case "grow" if isinstance(at, dict):
            at[chance.choice(("x", "", "sha256", "version", "a\n"))] = chance.choice(ODD)
        case "grow" if isinstance(at, list):
            at.append(chance.choice((*ODD, *at)))
        case "grow" if isinstance(at, str):
            where[name] = chance.choice((at + "\n", at + "x", at.upper(), at * 300, at[:-1], f" {at}", at + "\u0661"))
        case _:
            where[name] = chance.choice(ODD)
    return holder["document"]


def _places(value: Any) -> Any:
    """Every container with every name or index in it, all the way down."""
    names = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    for name in names:
        yield value, name
        yield from _places(value[name])
