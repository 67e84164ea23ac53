"""Frozen dataclasses to JSON and back, after the schema has spoken.

A document class names its schema's stem, and its fields are the schema's properties (a test holds that). `decode`
validates first, so the conversion itself need not doubt the form. Optional fields that are None are left out of the
JSON.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, Self, TypeVar

from agent_pipeline.documents import schema, strict

T = TypeVar("T")


class Document:
    """Mix-in for a frozen dataclass that is a whole document with a schema of its own."""

    STEM: ClassVar[str]
    MAX_BYTES: ClassVar[int] = strict.MAX_BYTES
    __slots__ = ()

    @classmethod
    def from_json(cls, data: bytes, *, max_bytes: int | None = None) -> Self:
        """Read strictly and validate; by itself at most `MAX_BYTES`. Raises `SchemaError`."""
        return cls.from_dict(strict.parse(data, what=f"the {cls.STEM}", max_bytes=max_bytes or cls.MAX_BYTES))

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
    if isinstance(value, (str, int)) or value is None:
        return value
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: to_plain(item) for name, item in value.items()}
    kind: Any = type(value)
    names = _names(kind)
    if names is None:
        return value
    return {name: to_plain(item) for name in names if (item := getattr(value, name)) is not None}


def from_plain(kind: type[T], value: Any) -> T:  # noqa: ANN401 - any JSON value
    """Convert validated JSON to `kind`: a dataclass, a container of such, or a plain type."""
    converter = _converter(typing.cast("Any", kind))
    return typing.cast("T", value if converter is None else converter(value))


@cache
def _names(kind: Any) -> tuple[str, ...] | None:  # noqa: ANN401 - any type
    """Return the names of a dataclass's fields, None for any other type. Types are looked at once."""
    return tuple(field.name for field in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None


@cache
def _converter(kind: Any) -> Callable[[Any], Any] | None:  # noqa: ANN401 - one branch for each kind of type
    """Return what converts JSON to `kind`, None where JSON has it as it is. Types are looked at once."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        inner = _converter(next(argument for argument in arguments if argument is not type(None)))
        return inner and (lambda value: None if value is None else inner(value))
    if origin is tuple:
        item = _converter(arguments[0])
        return tuple if item is None else (lambda value: tuple(map(item, value)))
    if origin is dict:
        held = _converter(arguments[1])
        return held and (lambda value: {name: held(one) for name, one in value.items()})
    return _of_fields(kind) if dataclasses.is_dataclass(kind) else None


def _of_fields(kind: Any) -> Callable[[Any], Any]:  # noqa: ANN401 - a dataclass
    hints = typing.get_type_hints(kind)
    other = [(name, found) for name in _names(kind) or () if (found := _converter(hints[name]))]

    def convert(value: dict[str, Any]) -> Any:  # noqa: ANN401 - one of `kind`
        made = {name: found(value[name]) for name, found in other if name in value}
        return kind(**{**value, **made}) if made else kind(**value)

    return convert
