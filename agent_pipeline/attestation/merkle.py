"""The Merkle tree over the shared log: roots, and proofs that a root holds an entry or continues an older one.

Hashes are RFC 6962's (2.1): SHA-256 of 0x00 and a leaf's data, SHA-256 of 0x01 and two children; the tree of n leaves
splits at the largest power of two below n. Checks follow RFC 9162, 2.1.3.2 and 2.1.4.2, step by step; what makes the
proofs is written the other way round, from the tree's shape, so that a mistake in one is no mistake in both.

Threats: an entry said to be in a log that does not hold it; a log that was rewound, forked or written anew and is
said to continue what somebody has seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from agent_pipeline.errors import SignatureError

SIZE: Final = 32
EMPTY: Final = hashlib.sha256(b"").digest()
MAX_SIZE: Final = 1 << 62


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_hash(hashes: Iterable[bytes]) -> bytes:
    """Return the root over subtrees given by their hashes; all but the last one have the same size, a power of two.

    With leaf hashes that is RFC 6962's MTH. Joining neighbours level by level, an odd last one going up as it is, gives
    the same tree as splitting at the largest power of two.
    """
    level = list(hashes)
    if not level:
        return EMPTY
    while len(level) > 1:
        joined = [node_hash(left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
        level = joined + level[len(joined) * 2 :]
    return level[0]


class Growing:
    """The root over leaves that come one by one; as much is kept as the tree is high."""

    def __init__(self) -> None:
        """Begin with the empty tree."""
        self.size = 0
        self._edge: list[bytes] = []  # of whole subtrees, the largest first

    def add(self, leaf: bytes) -> None:
        """Append a leaf hash."""
        size, joined = self.size, leaf
        while size % 2 == 1:
            joined = node_hash(self._edge.pop(), joined)
            size >>= 1
        self._edge.append(joined)
        self.size += 1

    @property
    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self._edge:
            return EMPTY
        found = self._edge[-1]
        for left in self._edge[-2::-1]:
            found = node_hash(left, found)
        return found


# making proofs: which parts of the tree are needed -------------------------------------------------------------------


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Return the ranges [low, high) of leaves whose hashes prove leaf `index` in a tree of `size`, lowest first."""
    if not 0 <= index < size:
        raise SignatureError(f"a log of {size} entries has no entry {index}")
    found, low, high = [], 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            found.append((middle, high))
            high = middle
        else:
            found.append((low, middle))
            low = middle
    return found[::-1]


def consistency_ranges(first: int, second: int) -> list[tuple[int, int]]:
    """Return the ranges of leaves whose hashes prove that a tree of `second` leaves continues one of `first`."""
    if not 0 < first <= second:
        raise SignatureError(f"a log of {second} entries does not continue one of {first}")
    found, low, high, whole = [], 0, second, True
    while first != high:
        middle = low + _split(high - low)
        if first <= middle:
            found.append((middle, high))
            high = middle
        else:
            found.append((low, middle))
            low, whole = middle, False
    if not whole:
        found.append((low, high))
    return found[::-1]


def _split(size: int) -> int:
    """Return the largest power of two below `size`, which is more than one."""
    return 1 << ((size - 1).bit_length() - 1)


# checking proofs -----------------------------------------------------------------------------------------------------


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise `SignatureError` unless `proof` shows the leaf hash `leaf` at `index` of the tree of `size` with `root`.

    Source: RFC 9162, 2.1.3.2.
    """
    _check_hashes((leaf, root, *proof))
    if not 0 <= index < size <= MAX_SIZE:
        raise SignatureError(f"a log of {size} entries has no entry {index}")
    at, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise SignatureError("the inclusion proof has too many hashes")
        if at % 2 == 1 or at == last:
            found = node_hash(sibling, found)
            while at % 2 == 0 and at != 0:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise SignatureError("the inclusion proof has too few hashes")
    if found != root:
        raise SignatureError(f"the inclusion proof of entry {index} does not lead to the log's root")


def check_consistency(first: int, second: int, proof: Sequence[bytes], old: bytes, new: bytes) -> None:
    """Raise `SignatureError` unless `proof` shows that the tree of `second` leaves begins with that of `first`.

    Source: RFC 9162, 2.1.4.2. An empty tree is the beginning of all, which proves nothing: `first` 0 is an error.
    """
    _check_hashes((old, new, *proof))
    if not 0 < first <= second <= MAX_SIZE:
        raise SignatureError(f"a log of {second} entries does not continue one of {first}")
    if first == second:
        if proof or old != new:
            raise SignatureError("two logs of one size are the same or do not belong together")
        return
    path = list(proof) if first & (first - 1) else [old, *proof]
    if not path:
        raise SignatureError("the consistency proof has too few hashes")
    if _joined(first - 1, second - 1, path) != (old, new):
        raise SignatureError(f"the log of {second} entries does not continue that of {first}: it was written anew")


def _joined(at: int, last: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return the old and the new root that a consistency proof leads to. Raises `SignatureError` by its length."""
    while at % 2 == 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise SignatureError("the consistency proof has too many hashes")
        if at % 2 == 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while at % 2 == 0 and at != 0:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise SignatureError("the consistency proof has too few hashes")
    return old, new


def _check_hashes(hashes: Iterable[bytes]) -> None:
    if any(len(one) != SIZE for one in hashes):
        raise SignatureError(f"a hash of the log's tree has {SIZE} bytes")
