"""Reading and writing JSON so that every reader sees the same thing.

Writing is RFC 8785 (JCS), so that bytes can be reproduced. Reading refuses what parsers disagree about: duplicate
members, NaN and infinities, integers beyond 2^53-1, other numbers, a byte-order mark, trailing data, lone surrogates,
deep nesting, and documents that are too large.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NoReturn

import rfc8785

from agent_pipeline.errors import SchemaError

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 64
MAX_INTEGER: Final = (1 << 53) - 1
_MAX_DIGITS: Final = len(str(MAX_INTEGER))
# A string, or one that never ends: what is left over hides no bracket from the parser. Every quote begins a match, a
# last backslash included: otherwise each further quote would be tried to the end again.
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKET: Final = re.compile(rb"[\[\]{}]")
# Half of a surrogate pair can only come out of an escape: UTF-8 has none.
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_DOUBTFUL: Final = object()


def canonical(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Return the RFC 8785 form of `value`. Raises `SchemaError` for what JSON or our rules cannot hold."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, RecursionError, UnicodeError) as error:
        raise SchemaError(f"this value has no canonical JSON form: {error}") from error


def rewritten(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Return the RFC 8785 form of a `value` that `parse` read: what `canonical` returns, in a fraction of its time.

    The compiled writer differs from RFC 8785 in numbers that `parse` refuses and in the order of names outside ASCII.
    """
    text = _writer()(value)
    return text.encode("ascii") if text.isascii() else canonical(value)


@cache
def _writer() -> Callable[[Any], str]:
    import jsonschema_rs  # noqa: PLC0415 - 10 ms that `--help` does not need

    writer: Callable[[Any], str] = jsonschema_rs.canonical.json.to_string
    return writer


def is_canonical(data: bytes, value: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Return whether `data` is the RFC 8785 form of a `value` that `parse` read."""
    return rewritten(value) == data


def sha256(data: bytes) -> str:
    """Return the lower-case hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def parse(data: bytes, *, what: str, max_bytes: int = MAX_BYTES) -> Any:  # noqa: ANN401 - any JSON value
    """Read one JSON document strictly. `what` names it in errors. Raises `SchemaError` for anything doubtful."""
    _check_bounds(data, what, max_bytes)
    value = _as_written(data)
    return _doubted(data, what) if value is _DOUBTFUL else value


def parse_with_form(data: bytes, *, what: str) -> tuple[Any, bool]:
    """Read as `parse` does, and say whether `data` is the RFC 8785 form of what was read. Raises `SchemaError`."""
    _check_bounds(data, what, MAX_BYTES)
    value = _as_written(data)
    if value is not _DOUBTFUL:
        return value, True
    value = _doubted(data, what)
    return value, is_canonical(data, value)


def _as_written(data: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return what canonical `data` in ASCII say, `_DOUBTFUL` for others: one look at the whole instead of many inside.

    What comes back when it is written again held no member twice, no half of a surrogate pair and no trailing data.
    """
    if not data.isascii():
        return _DOUBTFUL
    text = data.decode("ascii")
    try:
        value, _ = _PLAIN_READER.raw_decode(text)
        return value if _writer()(value) == text else _DOUBTFUL
    except (ValueError, RecursionError):
        return _DOUBTFUL


def _doubted(data: bytes, what: str) -> Any:  # noqa: ANN401 - any JSON value
    """Read what is written in another form, object by object."""
    try:
        value = _READER.decode(data.decode("utf-8"))
        if _SURROGATE.search(data):
            _no_surrogates(value)
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{what} is not strict JSON: {error}") from error
    return value


def _check_bounds(data: bytes, what: str, max_bytes: int) -> None:
    """Refuse what is too large, and count brackets outside strings before the parser recurses."""
    if len(data) > max_bytes:
        raise SchemaError(f"{what} has {len(data)} bytes; at most {max_bytes} are read")
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub(b"", data)):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > MAX_DEPTH:
            raise SchemaError(f"{what} is nested deeper than {MAX_DEPTH}")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        twice = min(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise ValueError(f"duplicate member {twice[:100]!r}")
    return result


def _bounded_integer(text: str) -> int:
    if len(text) > _MAX_DIGITS + 1 or not -MAX_INTEGER <= (number := int(text)) <= MAX_INTEGER:
        raise ValueError("an integer beyond 2^53-1")
    return number


def _no_fraction(text: str) -> NoReturn:
    raise ValueError(f"{text[:40]} is not an integer; other numbers are written as strings")


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _no_surrogates(value: Any) -> None:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        value.encode("utf-8")
    elif isinstance(value, dict):
        for name, item in value.items():
            name.encode("utf-8")
            _no_surrogates(item)
    elif isinstance(value, list):
        for item in value:
            _no_surrogates(item)


_PLAIN_READER: Final = json.JSONDecoder(
    parse_int=_bounded_integer, parse_float=_no_fraction, parse_constant=_no_constant
)
_READER: Final = json.JSONDecoder(
    object_pairs_hook=_no_duplicates,
    parse_int=_bounded_integer,
    parse_float=_no_fraction,
    parse_constant=_no_constant,
)
