"""Each reader of untrusted bytes: mutated good inputs, and whatever fell once, end in our own errors, within bounds."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fuzz.target import FOUND
from fuzz.targets import TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
EXAMPLES = {
    "harvest": 10,
    "bundle-opened": 10,
    "archive": 20,
    "provenance": 30,
    "request": 30,
    "attestation": 20,
    "staged": 15,
    "log-entry": 25,
}


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes], words: tuple[bytes, ...]) -> bytes:
    """A good input with some of it cut, doubled, replaced or exchanged."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 1, 2, 4, 16, 64, 1024])))
        other = draw(st.sampled_from(seeds))
        data[start:end] = draw(
            st.binary(max_size=4)
            | st.sampled_from((*words, b"\0", b"\xff"))
            | st.just(bytes(data[start:end] * 2))
            | st.just(other[start:end])
        )
    return bytes(data)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for name, item in items for found in leaves(item, (*path, name)))]


ODD = (
    st.none() | st.booleans() | st.integers(-2, 2**53) | st.text(max_size=8) | st.just([]) | st.just({})
    | st.sampled_from(["a" * 64, "A" * 64, "0" * 40, "2026-02-30T00:00:00Z", "..", "\u202e", "9" * 16, "1.5"])
)  # fmt: skip


@st.composite
def remodelled(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A good JSON input with another value, or none, in some places."""
    value = json.loads(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from([path for path in leaves(value) if path] or [("x",)]))
        place = value
        for name in way:
            place = place[name]
        if draw(st.booleans()) or not isinstance(place, dict):
            place[last] = draw(ODD)
        else:
            place.pop(last, None)
    return json.dumps(value).encode("utf-8", "surrogatepass")


def inputs(name: str) -> st.SearchStrategy[bytes]:
    target = TARGETS[name]
    seeds = [*target.seeds(), *target.found()]
    modelled = [seed for seed in target.seeds() if is_json(seed)]
    any_bytes = mutated(seeds, target.words)
    return any_bytes | remodelled(modelled) if modelled else any_bytes


def is_json(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data), dict)
    except ValueError:
        return False


@pytest.mark.parametrize("name", list(TARGETS))
def test_mutated_inputs_end_in_our_own_errors(name: str) -> None:
    target = TARGETS[name]

    @given(inputs(name))
    @settings(
        max_examples=EXAMPLES.get(name, 60), deadline=5000, suppress_health_check=list(HealthCheck), database=None
    )
    def take(data: bytes) -> None:
        target.take(data)

    take()


def test_good_inputs_and_what_fell_once_are_read_within_time_and_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-P", str(HERE / "drive.py"), "--once", *TARGETS],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_every_target_is_in_the_table_by_a_name_of_its_own() -> None:
    """Of two with one name, the table would keep the second, and the first would never run again."""
    made = [
        ast.literal_eval(call.args[0])
        for path in HERE.glob("*.py")
        for call in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "Target"
    ]
    assert sorted(made) == sorted(TARGETS)
    assert all(path.name in TARGETS for path in FOUND.iterdir())


@pytest.mark.parametrize("name", list(TARGETS))
def test_the_seeds_are_good_inputs(name: str) -> None:
    """A target whose seeds are all refused at the door would look for nothing behind it."""
    target = TARGETS[name]
    refused = 0
    for seed in target.seeds():
        try:
            target.read(seed)
        except Exception:  # noqa: BLE001 - counted
            refused += 1
    assert refused < len(target.seeds())
