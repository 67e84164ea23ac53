"""Frozen dataclasses to JSON and back, after the schema has spoken.

A document class names its schema's stem, and its fields are the schema's properties (a test holds that). `decode`
validates first, so the conversion itself need not doubt the form. Optional fields that are None are left out of the
JSON.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from functools import cache
from typing import Any, ClassVar, Self, TypeVar

from agent_pipeline.documents import schema, strict

T = TypeVar("T")


class Document:
    """Mix-in for a frozen dataclass that is a whole document with a schema of its own."""

    STEM: ClassVar[str]
    __slots__ = ()

    @classmethod
    def from_json(cls, data: bytes, *, max_bytes: int = strict.MAX_BYTES) -> Self:
        """Read strictly and validate. Raises `SchemaError`."""
        return cls.from_dict(strict.parse(data, what=f"the {cls.STEM}", max_bytes=max_bytes))

    @classmethod
    def from_dict(cls, value: Any) -> Self:  # noqa: ANN401 - any JSON value
        """Validate against the schema and convert. Raises `SchemaError`."""
        schema.validate(cls.STEM, value)
        return from_plain(cls, value)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object. Raises `SchemaError` when it would not have the schema's form."""
        value = to_plain(self)
        schema.validate(self.STEM, value)
        return typing.cast("dict[str, Any]", value)

    def to_json(self) -> bytes:
        """Return the canonical bytes (RFC 8785)."""
        return strict.canonical(self.to_dict())

    def digest(self) -> str:
        """Return the SHA-256 of the canonical bytes, lower-case hexadecimal."""
        return strict.sha256(self.to_json())


def to_plain(value: Any) -> Any:  # noqa: ANN401 - any field
    """Convert dataclasses and tuples to JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: to_plain(item) for name, item in items if item is not None}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: to_plain(item) for name, item in value.items()}
    return value


def from_plain(kind: type[T], value: Any) -> T:  # noqa: ANN401 - any JSON value
    """Convert validated JSON to `kind`: a dataclass, a container of such, or a plain type."""
    return typing.cast("T", _convert(kind, value))


def _convert(kind: Any, value: Any) -> Any:  # noqa: ANN401 - one line per kind of type
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        inner = next(argument for argument in arguments if argument is not type(None))
        return None if value is None else _convert(inner, value)
    if origin is tuple:
        return tuple(_convert(arguments[0], item) for item in value)
    if origin is dict:
        return {name: _convert(arguments[1], item) for name, item in value.items()}
    if dataclasses.is_dataclass(kind):
        hints = _hints(typing.cast("type", kind))
        return typing.cast("Any", kind)(**{name: _convert(hints[name], item) for name, item in value.items()})
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)
