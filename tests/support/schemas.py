"""Documents made from a schema, by chance but the same each time: valid ones, and ones with one thing changed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from random import Random
from re import _constants, _parser  # type: ignore[attr-defined]  # there is no public reader of patterns
from typing import Any

# What stands where something else belongs: of other types, at the borders, and what readers disagree about. No
# fractions: readers let none in.
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**53, 2**70, "", "a", "a\n", "\n", "\u00e9", "\u0661", "\U0001f600",
    "0" * 64, "F" * 64, [], [None], {}, {"sha256": "0" * 64}, [[]],
)  # fmt: skip


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
        return "".join(_matching(_parser.parse(schema["pattern"]), chance))
    least = schema.get("minLength", 0)
    return chance.choice(("é", "x", "\U0001f600")) * min(schema.get("maxLength", 99), least + chance.choice((0, 1, 3)))


def _matching(parsed: Any, chance: Random) -> Iterator[str]:  # noqa: C901 - one case for each kind of node
    """A text that matches, piece by piece, for the regular expressions that our schemas use."""
    for kind, argument in parsed:
        match str(kind):
            case "LITERAL":
                yield chr(argument)
            case "NOT_LITERAL":
                yield "é"
            case "IN" if argument[0][0] is _constants.NEGATE:
                yield "é"
            case "IN":
                what, value = chance.choice(argument)
                yield chr(value if what is _constants.LITERAL else chance.randint(*value))
            case "MAX_REPEAT":
                least, most, inner = argument
                for _ in range(chance.randint(least, min(most, least + 3))):
                    yield from _matching(inner, chance)
            case "SUBPATTERN":
                yield from _matching(argument[3], chance)
            case "BRANCH":
                yield from _matching(chance.choice(argument[1]), chance)
            case "AT":
                pass
            case _:
                raise AssertionError(f"no text is made for {kind} {argument}")


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
