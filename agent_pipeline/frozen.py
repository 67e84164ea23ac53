"""Frozen dataclasses that are cheap to make and to fill: what a verifier has many of.

`@frozen` makes what `@dataclass(frozen=True, slots=True)` makes, to whoever uses it: equal within one class by their
fields, hashed and printed by them, never changed, understood by `dataclasses` and by type checkers. The standard one
compiles six methods for each class, which is most of the time that importing the verifier took. Here one is compiled,
`__init__`, and what is the same for all classes is written once. Fields are plain or have a default or a factory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, NoReturn, TypeVar, dataclass_transform

T = TypeVar("T")
_MISSING: Final = dataclasses.MISSING
_VALUES: Final = "_frozen_values"


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def frozen(cls: type[T]) -> type[T]:
    """Return `cls` as a frozen dataclass with slots. Raises `TypeError` for fields of any special kind."""
    made = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    names = tuple(field.name for field in dataclasses.fields(made))  # type: ignore[arg-type]  # it is one
    for name, method in (("__init__", _init(made)), (_VALUES, _getter(names)), *_SHARED.items()):
        setattr(made, name, method)
    return made


def _init(cls: type[Any]) -> Any:  # noqa: ANN401 - a function with the class's own parameters
    """Compile `__init__`: it fills the slots by their descriptors, which `__setattr__` does not guard."""
    scope: dict[str, Any] = {"_MISSING": _MISSING}
    parameters, lines = ["self"], []
    for field in dataclasses.fields(cls):
        name, value = field.name, field.name
        if not (field.init and field.repr and field.compare and field.hash is None) or field.kw_only:
            raise TypeError(f"{cls.__name__}.{name} is no plain field")
        scope[f"_set_{name}"] = getattr(cls, name).__set__
        if field.default is not _MISSING:
            scope[f"_default_{name}"] = field.default
            parameters.append(f"{name}=_default_{name}")
        elif field.default_factory is not _MISSING:
            scope[f"_make_{name}"] = field.default_factory
            parameters.append(f"{name}=_MISSING")
            value = f"_make_{name}() if {name} is _MISSING else {name}"
        else:
            parameters.append(name)
        lines.append(f" _set_{name}(self, {value})")
    exec("\n".join([f"def __init__({', '.join(parameters)}):", *lines, " pass"]), scope)  # noqa: S102 - as `dataclasses` does: names of fields are identifiers
    made = scope["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


def _getter(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what reads all fields of an instance."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda one: tuple([getattr(one, name) for name in names])


def _values(one: Any) -> tuple[Any, ...]:  # noqa: ANN401 - an instance of any class that `frozen` made
    found: tuple[Any, ...] = getattr(one.__class__, _VALUES)(one)
    return found


def _eq(self: Any, other: object) -> bool:  # noqa: ANN401 - as above
    return _values(self) == _values(other) if other.__class__ is self.__class__ else NotImplemented


def _hash(self: Any) -> int:  # noqa: ANN401 - as above
    return hash(_values(self))


def _repr(self: Any) -> str:  # noqa: ANN401 - as above
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
    return f"{self.__class__.__qualname__}({shown})"


def _reduce(self: Any) -> tuple[Any, ...]:  # noqa: ANN401 - as above
    """Copies and pickles are made as every other instance is."""
    return self.__class__, _values(self)


def _no_set(_self: Any, name: str, _value: object) -> NoReturn:  # noqa: ANN401 - as above
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _no_delete(_self: Any, name: str) -> NoReturn:  # noqa: ANN401 - as above
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


_SHARED: Final = {
    "__eq__": _eq,
    "__hash__": _hash,
    "__repr__": _repr,
    "__reduce__": _reduce,
    "__setattr__": _no_set,
    "__delattr__": _no_delete,
}
