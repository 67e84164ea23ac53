"""The log's map against a dictionary, its one form, and forged nodes."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_pipeline.attestation import state_map
from agent_pipeline.attestation.state_map import NOTHING, Branch, Item, Leaf, decode, node_hash, place_of, walk
from agent_pipeline.documents.log_entry import EVENTS
from agent_pipeline.errors import SignatureError

KEYS = ["*", *(f"{number:016}" for number in range(60))]


def item(index: int) -> Item:
    return Item(index, EVENTS[index % len(EVENTS)], hashlib.sha256(b"%d" % index).hexdigest())


class Held:
    """A map by the production code, its nodes kept by prefix as they are stored."""

    def __init__(self) -> None:
        self.root, self.nodes = NOTHING, dict[str, bytes]()
        self.expected: dict[str, list[Item]] = {}

    def fetch(self, prefix: str, _wanted: bytes) -> bytes | None:
        return self.nodes.get(prefix)

    def add(self, key: str, added: Item) -> None:
        grown = state_map.add(self.fetch, self.root, key, added)
        self.root = grown.root
        self.nodes.update(grown.nodes)
        self.expected.setdefault(key, []).append(added)


def held(*keys: str) -> Held:
    found = Held()
    for index, key in enumerate(keys):
        found.add(key, item(index))
    return found


@given(st.lists(st.sampled_from(KEYS), max_size=80))
@settings(max_examples=60, deadline=None)
def test_it_holds_what_a_dictionary_holds_and_nothing_else(keys: list[str]) -> None:
    found = held(*keys)
    for key in KEYS:
        assert walk(found.fetch, found.root, key)[0] == tuple(found.expected.get(key, ()))


@given(st.permutations(KEYS[:12]))
@settings(max_examples=30, deadline=None)
def test_a_set_of_keys_has_one_form(keys: list[str]) -> None:
    index = {key: item(number) for number, key in enumerate(KEYS[:12])}
    found, other = Held(), Held()
    for key in keys:
        found.add(key, index[key])
    for key in KEYS[:12]:
        other.add(key, index[key])
    assert found.root == other.root
    assert found.nodes == other.nodes


def colliding(length: int) -> tuple[str, str]:
    """Two keys whose places share `length` nibbles, as whoever makes up ids can find them."""
    seen: dict[str, str] = {}
    for number in range(1 << 22):
        key = f"key {number}"
        other = seen.setdefault(place_of(key)[:length], key)
        if other != key:
            return key, other
    raise AssertionError


def test_keys_made_to_collide_only_lie_deeper() -> None:
    one, other = colliding(6)
    found = held("a", "b", one, "c", other, "*", one)
    for key in ("a", "b", one, "c", other, "*"):
        assert walk(found.fetch, found.root, key)[0] == tuple(found.expected[key])
    assert len(walk(found.fetch, found.root, one)[1]) >= 7


def test_one_bit_changed_in_any_node_is_no_proof() -> None:
    found = held(*KEYS)
    for key in ("*", "nobody"):
        _, nodes = walk(found.fetch, found.root, key)
        for number, node in enumerate(nodes):
            for position in range(0, len(node), 11):
                changed = bytearray(node)
                changed[position] ^= 1
                forged = {node_hash(one): one for one in nodes} | {node_hash(node): bytes(changed)}
                with pytest.raises(SignatureError):
                    walk(lambda _, wanted, forged=forged: forged.get(wanted), found.root, key)
            kept = {node_hash(one): one for place, one in enumerate(nodes) if place != number}
            with pytest.raises(SignatureError, match="missing"):
                walk(lambda _, wanted, kept=kept: kept.get(wanted), found.root, key)


def forged(*nodes: bytes) -> state_map.Fetch:
    by_hash = {node_hash(node): node for node in nodes}
    return lambda _, wanted: by_hash.get(wanted)


def test_a_leaf_counts_only_where_it_belongs() -> None:
    place = place_of("x")
    leaf = Leaf(place, (item(0),)).encode()
    here = Branch({place[0]: node_hash(leaf)}).encode()
    assert walk(forged(here, leaf), node_hash(here), "x")[0] == (item(0),)
    wrong = "0" if place[0] != "0" else "1"
    there = Branch({wrong: node_hash(leaf)}).encode()
    other = next(f"{n}" for n in range(1000) if place_of(f"{n}")[0] == wrong)
    with pytest.raises(SignatureError, match="does not belong"):
        walk(forged(there, leaf), node_hash(there), other)
    with pytest.raises(SignatureError, match="does not belong"):
        walk(forged(leaf), node_hash(leaf), "x")


def test_a_map_without_end_ends() -> None:
    place = place_of("x")
    below = node_hash(Leaf(place, (item(0),)).encode())
    nodes = []
    for depth in range(80, -1, -1):
        nodes.append(Branch({place[depth % 64]: below}).encode())
        below = node_hash(nodes[-1])
    found: tuple[Item, ...] | None = None
    try:
        found = walk(forged(*nodes), below, "x")[0]
    except SignatureError:
        found = None
    assert not found


GOOD = Leaf(place_of("x"), (item(0), item(3))).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x02",
        b"\x03",
        b"\x03\x00\x00",
        b"\x03\x00\x01",
        b"\x03\x00\x01" + bytes(32),
        b"\x03\x00\x01" + b"\x07" * 31,
        b"\x03\x00\x01" + b"\x07" * 64,
        b"\x04" + GOOD[1:],
        GOOD + b" ",
        GOOD[:33] + b"[]",
        GOOD[:33] + b"{}",
        GOOD[:33] + b'[[0,"merged"]]',
        GOOD[:33] + b'[["0","merged","' + b"a" * 64 + b'"]]',
        GOOD[:33] + b'[[true,"merged","' + b"a" * 64 + b'"]]',
        GOOD[:33] + b'[[-1,"merged","' + b"a" * 64 + b'"]]',
        GOOD[:33] + b'[[0,"eaten","' + b"a" * 64 + b'"]]',
        GOOD[:33] + b'[[0,["merged"],"' + b"a" * 64 + b'"]]',
        GOOD[:33] + b'[[0,"merged","' + b"A" * 64 + b'"]]',
        GOOD[:33] + b'[[0,"merged","' + b"a" * 62 + b'"]]',
        GOOD[:33] + b'[[0,"merged",7]]',
        GOOD[:33] + b'[[1,"merged","' + b"a" * 64 + b'"],[0,"merged","' + b"a" * 64 + b'"]]',
        GOOD[:33] + b'[[0,"merged","' + b"a" * 64 + b'"],[0,"merged","' + b"b" * 64 + b'"]]',
        GOOD[:33] + b"[" * 100 + b"]" * 100,
    ],
)
def test_a_node_has_one_form(data: bytes) -> None:
    assert decode(GOOD).encode() == GOOD
    with pytest.raises(SignatureError):
        decode(data)


@given(st.binary(max_size=120) | st.binary(max_size=80).map(lambda data: GOOD[:33] + data))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_a_node_of_one_form_or_our_own_error(data: bytes) -> None:
    try:
        node = decode(data)
    except SignatureError:
        return
    assert node.encode() == data


def test_entries_are_added_in_order() -> None:
    found = held("a", "a", "b")
    for index in (0, 1):
        with pytest.raises(SignatureError, match="cannot be added"):
            found.add("a", item(index))
