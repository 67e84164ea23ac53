"""The log's map: which entries there are about a request, authenticated, so that "these are all" has a short proof.

A radix-16 Merkle trie. A key's place is given by the nibbles of its SHA-256, first nibble first; its leaf lies at the
shortest prefix (of one nibble at least) that it shares with no other key, so a set of keys has one form only. A node's
hash is the SHA-256 of its bytes, whose first one says what it is:

    leaf    0x02, SHA-256 of the key (32 bytes), canonical JSON [[index, event, SHA-256 of the envelope in hex], ...]
    branch  0x03, which children there are (16 bits, big-endian, bit n for nibble n), their hashes in order of nibbles

The root of the empty map is 32 zero bytes. Walking from a root that somebody signed, along nodes whose hashes are
compared, ends in the key's leaf or in the proof that there is none.

Threats: an entry about a request left out (it was merged, rejected, stopped) or put in; another request's leaf.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from agent_pipeline.documents import strict
from agent_pipeline.documents.log_entry import EVENTS
from agent_pipeline.errors import SchemaError, SignatureError
from agent_pipeline.frozen import frozen

NOTHING: Final = bytes(32)
MAX_NODE: Final = 1 << 20
LEAF_BYTE, BRANCH_BYTE, _HASH = b"\x02", b"\x03", 32
_NIBBLES: Final = "0123456789abcdef"
_ITEM: Final = 3


@frozen
class Item:
    """One entry about a key: its index in the log, its event, the SHA-256 of its envelope (hex)."""

    index: int
    event: str
    digest: str


@frozen
class Leaf:
    """All entries about the key whose SHA-256 (hex) is `place`, by index."""

    place: str
    items: tuple[Item, ...]

    def encode(self) -> bytes:
        """Return the node's bytes."""
        items = [[item.index, item.event, item.digest] for item in self.items]
        return LEAF_BYTE + bytes.fromhex(self.place) + strict.canonical(items)


@frozen
class Branch:
    """The hashes of the children by nibble (one hexadecimal digit)."""

    children: dict[str, bytes]

    def encode(self) -> bytes:
        """Return the node's bytes."""
        bits = sum(1 << _NIBBLES.index(nibble) for nibble in self.children)
        return BRANCH_BYTE + bits.to_bytes(2, "big") + b"".join(hashed for _, hashed in sorted(self.children.items()))


Node = Leaf | Branch
# From a prefix of nibbles and the hash that is wanted there to a node's bytes, None when there are none.
Fetch = Callable[[str, bytes], bytes | None]


def place_of(key: str) -> str:
    """Return the SHA-256 of a key, in hex: its nibbles are its way through the trie."""
    return hashlib.sha256(key.encode("utf-8")).hexdigest()


def node_hash(data: bytes) -> bytes:
    """Return the hash of a node."""
    return hashlib.sha256(data).digest()


def decode(data: bytes) -> Node:
    """Read a node; only the one form that `encode` writes. Raises `SignatureError`."""
    try:
        node = _branch(data) if data[:1] == BRANCH_BYTE else _leaf(data)
    except (SchemaError, ValueError, TypeError) as error:
        raise SignatureError(f"a node of the log's map cannot be read: {error}") from error
    if node.encode() != data:
        raise SignatureError("a node of the log's map is not written in the one form that it has")
    return node


def _branch(data: bytes) -> Branch:
    bits = int.from_bytes(data[1:3], "big")
    nibbles = [nibble for number, nibble in enumerate(_NIBBLES) if bits >> number & 1]
    hashes = [data[at : at + _HASH] for at in range(3, len(data), _HASH)]
    if not nibbles or len(data) != 3 + _HASH * len(nibbles) or NOTHING in hashes:
        raise ValueError("a branch has as many hashes as children, and one at least")
    return Branch(dict(zip(nibbles, hashes, strict=True)))


def _leaf(data: bytes) -> Leaf:
    if data[:1] != LEAF_BYTE or len(data) > MAX_NODE:
        raise ValueError("it is neither a leaf nor a branch")
    items = []
    for item in strict.parse(data[1 + _HASH :], what="a leaf of the log's map", max_bytes=MAX_NODE):
        if len(item) != _ITEM or type(item[0]) is not int or item[1] not in EVENTS:
            raise ValueError("an entry is named by its index, its event and its digest")
        if len(bytes.fromhex(item[2])) != _HASH or item[2] != item[2].lower():
            raise ValueError("a digest has 64 lower-case hexadecimal digits")
        items.append(Item(*item))
    indexes = [item.index for item in items]
    if not items or indexes[0] < 0 or indexes != sorted(set(indexes)):
        raise ValueError("a leaf names at least one entry, in order")
    return Leaf(data[1 : 1 + _HASH].hex(), tuple(items))


# walking -------------------------------------------------------------------------------------------------------------


def walk(fetch: Fetch, root: bytes, key: str) -> tuple[tuple[Item, ...], tuple[bytes, ...]]:
    """Return all entries about `key` in the map with `root`, none if there are none, and the nodes that prove it.

    Raises `SignatureError` when a node is missing, is not the one whose hash stands above it, or stands elsewhere than
    it belongs.
    """
    nodes: list[bytes] = []
    place, wanted = place_of(key), root
    for depth in range(len(place) + 1):
        if wanted == NOTHING:
            return (), tuple(nodes)
        data = fetched(fetch, place[:depth], wanted)
        nodes.append(data)
        node = decode(data)
        if isinstance(node, Leaf):
            if depth == 0 or node.place[:depth] != place[:depth]:
                raise SignatureError("a leaf of the log's map stands where it does not belong")
            return (node.items if node.place == place else ()), tuple(nodes)
        wanted = node.children.get(place[depth], NOTHING) if depth < len(place) else NOTHING
    raise SignatureError("the log's map is deeper than its keys are long")


def fetched(fetch: Fetch, prefix: str, wanted: bytes) -> bytes:
    """Return the node with the hash `wanted`. Raises `SignatureError` when it is missing or another one."""
    data = fetch(prefix, wanted)
    if data is None:
        raise SignatureError(f"a node of the log's map is missing: {prefix or 'the root'}")
    if node_hash(data) != wanted:
        raise SignatureError(f"a node of the log's map is not the signed one: {prefix or 'the root'}")
    return data


# growing -------------------------------------------------------------------------------------------------------------


@frozen
class Growth:
    """The new root, and every node that changed by its prefix, as bytes; a leaf may give way to a branch."""

    root: bytes
    nodes: dict[str, bytes]


def add(fetch: Fetch, root: bytes, key: str, item: Item) -> Growth:
    """Return what changes when `item` is added to the entries about `key`. Raises `SignatureError` as `walk` does.

    Also for an index that is not beyond those that are there, and for a leaf that would become too large.
    """
    place = place_of(key)
    above: list[Branch] = []
    changed: dict[str, bytes] = {}
    wanted, new = root, Leaf(place, (item,))
    below: bytes | None = None
    while wanted != NOTHING:
        prefix = place[: len(above)]
        node = decode(fetched(fetch, prefix, wanted))
        if isinstance(node, Branch):
            above.append(node)
            wanted = node.children.get(place[len(above) - 1], NOTHING)
        elif node.place == place:
            new = Leaf(place, (*node.items, item))
            break
        else:
            below = _split(changed, len(above), node, new)
            break
    if not above:  # the root is a branch, always
        above.append(Branch({}))
    if below is None:
        below = _put(changed, place[: len(above)], new)
    if len(new.encode()) > MAX_NODE or [one.index for one in new.items[-2:-1]] >= [item.index]:
        raise SignatureError(f"entry {item.index} cannot be added to those about {key}")
    for depth in range(len(above) - 1, -1, -1):
        below = _put(changed, place[:depth], Branch({**above[depth].children, place[depth]: below}))
    return Growth(below, changed)


def _split(changed: dict[str, bytes], depth: int, one: Leaf, other: Leaf) -> bytes:
    """Let two leaves, which share the prefix of `depth` nibbles, go apart below it; return the hash of what is there.

    A leaf that stood at that prefix goes: its place is taken by a branch.
    """
    at = depth
    while one.place[at] == other.place[at]:
        at += 1
    children = {leaf.place[at]: _put(changed, leaf.place[: at + 1], leaf) for leaf in (one, other)}
    below = _put(changed, one.place[:at], Branch(children))
    for level in range(at - 1, depth - 1, -1):
        below = _put(changed, one.place[:level], Branch({one.place[level]: below}))
    return below


def _put(changed: dict[str, bytes], prefix: str, node: Node) -> bytes:
    data = node.encode()
    changed[prefix] = data
    return node_hash(data)
