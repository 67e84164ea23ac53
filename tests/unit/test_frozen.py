"""`frozen` makes what the standard frozen dataclass with slots makes, to whoever uses it."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field
from typing import Any, ClassVar

import pytest

from agent_pipeline.frozen import frozen

Decorator = Callable[[type[Any]], type[Any]]
STANDARD: Decorator = dataclass(frozen=True, slots=True)


def point(decorator: Decorator) -> type[Any]:
    class Point:
        """A point."""

        KIND: ClassVar[str] = "plain"

        x: int
        y: tuple[int, ...] = (2,)
        more: dict[str, int] = field(default_factory=dict)

        @property
        def both(self) -> tuple[int, tuple[int, ...]]:
            return self.x, self.y

    return decorator(Point)


def child(decorator: Decorator) -> type[Any]:
    class Child(point(decorator)):  # type: ignore[misc]  # made just there
        """One more field."""

        z: str = "z"

    return decorator(Child)


@frozen
class Known:
    """One that a pickle can find."""

    name: str
    size: int = 0


@frozen
class Empty:
    """No field at all."""


def said(look: Callable[[], Any]) -> object:
    """What `look` returns, or raises and says."""
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - compared, whatever it is
        return type(error), str(error)


LOOKS: dict[str, Callable[[type[Any]], Any]] = {
    "repr": lambda made: repr(made(1)).rpartition(".")[2],
    "fields": lambda made: [(one.name, one.type, one.default) for one in dataclasses.fields(made)],
    "asdict": lambda made: dataclasses.asdict(made(1, more={"a": 1})),
    "replace": lambda made: dataclasses.replace(made(1), x=2).both,
    "equal": lambda made: (made(1) == made(1), made(1) == made(2), made(1) != made(1), made(1) == (1, (2,), {})),
    "hash": lambda made: hash(made(1, more=3)),  # a tuple's, of all fields
    "no hash": lambda made: hash(made(1)),  # nor of a dictionary
    "slots": lambda made: (hasattr(made(1), "__dict__"), made.__slots__),
    "match": lambda made: made.__match_args__,
    "parameters": lambda made: list(inspect.signature(made).parameters),
    "a factory is asked each time": lambda made: made(1).more is made(1).more,
    "the class's own": lambda made: (made.KIND, made.__doc__, made.__name__, made(1).both),
    "set": lambda made: setattr(made(1), "x", 2),
    "delete": lambda made: delattr(made(1), "x"),
    "too few": lambda made: str(said(made)).rpartition("Point")[2].rpartition("Child")[2],
    "unknown": lambda made: type(said(lambda: made(1, nothing=2))),
    "a copy": lambda made: (copy.copy(made(1)).both, copy.deepcopy(made(1)) == made(1)),
    "is one": lambda made: (dataclasses.is_dataclass(made), dataclasses.is_dataclass(made(1))),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS.keys())
@pytest.mark.parametrize("maker", [point, child])
def test_it_is_as_the_standard_one(maker: Callable[[Decorator], type[Any]], look: Callable[[type[Any]], Any]) -> None:
    ours, theirs = maker(frozen), maker(STANDARD)
    assert said(lambda: look(ours)) == said(lambda: look(theirs))


def test_only_instances_of_one_class_are_equal() -> None:
    parent, other = point(frozen), point(frozen)
    assert parent(1) != other(1)
    assert child(frozen)(1) != parent(1)


def test_nothing_changes_and_nothing_is_lost_in_a_pickle() -> None:
    known = Known("a", 1)
    for change in (
        lambda: setattr(known, "name", "b"),
        lambda: setattr(known, "other", "b"),  # about which the standard one stumbles
        lambda: delattr(known, "size"),
    ):
        with pytest.raises(FrozenInstanceError):
            change()
    assert pickle.loads(pickle.dumps(known)) == known == Known("a", 1)  # noqa: S301 - written just here
    assert {known: 1}[Known("a", 1)] == 1
    assert repr(Empty()) == "Empty()"
    assert Empty() == Empty()


@pytest.mark.parametrize(
    "special",
    [field(init=False, default=1), field(repr=False), field(compare=False), field(hash=False), field(kw_only=True)],
    ids=["init", "repr", "compare", "hash", "kw_only"],
)
def test_a_field_of_a_special_kind_is_refused(special: Any) -> None:
    with pytest.raises(TypeError, match=r"Odd\.x is no plain field"):
        frozen(type("Odd", (), {"__annotations__": {"x": int}, "x": special}))
