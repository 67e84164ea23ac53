"""A document with one thing in it changed, and all else as it was: every leaf, and every member's name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from agent_pipeline.documents import moments, strict

Path = tuple[Any, ...]
ID = re.compile(r"[a-z2-7]{16}\Z")  # a request's, in which there is neither 0 nor 1


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of everything that holds nothing further."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None or not value:
        yield path
        return
    for name, item in items:
        yield from leaves(item, (*path, name))


def other(leaf: Any) -> Any:
    """A value of the same kind, and where it can be of the same form, that is not the same."""
    if isinstance(leaf, bool):
        return not leaf
    if isinstance(leaf, int):
        return leaf + 1
    if isinstance(leaf, list):
        return ["a"]
    if isinstance(leaf, dict):
        return {"a": "a"}
    if leaf.endswith("Z") and leaf[4:5] == "-":
        return moments.write(moments.parse(leaf) + timedelta(seconds=1))
    one, two = ("3", "2") if ID.search(leaf) else ("1", "0")
    return leaf[:-1] + (two if leaf[-1] == one else one) if leaf else "a"


def changed(payload: bytes, path: Path) -> bytes:
    """The document in which one leaf is another."""
    value = json.loads(payload)
    place = value
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = other(place[path[-1]])
    return strict.canonical(value)


def tried(payload: bytes) -> Iterator[tuple[Path, bytes]]:
    """Every leaf of a document, and the document in which it is another."""
    for path in leaves(json.loads(payload)):
        altered = changed(payload, path)
        assert altered != payload
        yield path, altered


def renamed(payload: bytes) -> Iterator[tuple[Path, bytes]]:
    """Every member of a document, and the document in which it has another name: names of people and keys are such."""
    for path in _members(json.loads(payload)):
        value = json.loads(payload)
        place = value
        for name in path[:-1]:
            place = place[name]
        place[other(path[-1])] = place.pop(path[-1])
        yield path, strict.canonical(value)


def _members(value: Any, path: Path = ()) -> Iterator[Path]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        if isinstance(value, dict):
            yield (*path, name)
        yield from _members(item, (*path, name))


def named(path: Path) -> str:
    """A path in words."""
    return "/".join(str(part) for part in path)
