"""The shared log's tree of entries as it is stored, and how it grows.

Entry `i` stands in the folder that the five hexadecimal digits of `i` name, `entries/0/0/0/1/f` for entry 31, the last
digit being the envelope itself. Every folder has a file `node`: the hashes of what is in it, in order, 32 bytes each:
leaf hashes in the last folders, above them the Merkle hash of each folder. A folder's Merkle hash is the root over its
node's hashes. So a proof reads at most five small files for each hash in it, and appending writes five.

A leaf's data are the 32 bytes of the SHA-256 of an envelope. What is stored is believed only as far as it leads to a
root that somebody signed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from agent_pipeline.attestation import merkle
from agent_pipeline.errors import SignatureError
from agent_pipeline.frozen import frozen

DIGITS: Final = 5
MAX_ENTRIES: Final = 16**DIGITS
MAX_NODE: Final = 16 * merkle.SIZE
FOLDER: Final = "entries"
_NODE: Final = "node"

Read = Callable[[str], bytes | None]  # from a path to what is stored there, None for nothing


@frozen
class Growth:
    """The new root, and the files to be written, by path."""

    root: bytes
    files: dict[str, bytes]


def entry_path(index: int) -> str:
    """Return where the envelope of entry `index` is stored. Raises `SignatureError` beyond `MAX_ENTRIES`."""
    return "/".join((FOLDER, *_digits(index)))


def leaf_of(envelope: bytes) -> bytes:
    """Return the leaf hash of an entry."""
    return merkle.leaf_hash(hashlib.sha256(envelope).digest())


def _digits(index: int) -> str:
    if not 0 <= index < MAX_ENTRIES:
        raise SignatureError(f"a log has at most {MAX_ENTRIES} entries; {index} is beyond that")
    return f"{index:0{DIGITS}x}"


def _node_path(folders: str) -> str:
    return "/".join((FOLDER, *folders, _NODE))


def _node(read: Read, folders: str) -> list[bytes]:
    data = read(_node_path(folders)) or b""
    if not data or len(data) % merkle.SIZE or len(data) > MAX_NODE:
        raise SignatureError(f"the log's tree is damaged: {_node_path(folders)} holds no hashes")
    return [data[at : at + merkle.SIZE] for at in range(0, len(data), merkle.SIZE)]


# proofs --------------------------------------------------------------------------------------------------------------


def inclusion(read: Read, index: int, size: int) -> tuple[bytes, ...]:
    """Return the proof that the tree of `size` entries has entry `index`, from what is stored: not believed."""
    return tuple(_range(read, low, high) for low, high in merkle.inclusion_ranges(index, size))


def consistency(read: Read, first: int, second: int) -> tuple[bytes, ...]:
    """Return the proof that the tree of `second` entries continues one of `first`, from what is stored."""
    return tuple(_range(read, low, high) for low, high in merkle.consistency_ranges(first, second))


def _range(read: Read, low: int, high: int) -> bytes:
    """Return the hash of the subtree over the leaves [low, high): children of one folder, or a single leaf."""
    first, last = _digits(low), _digits(high - 1)
    common = next((at for at in range(DIGITS) if first[at] != last[at]), DIGITS - 1)
    hashes = _node(read, first[:common])
    part = hashes[int(first[common], 16) : int(last[common], 16) + 1]
    if len(part) != int(last[common], 16) - int(first[common], 16) + 1:
        raise SignatureError(f"the log's tree is damaged: {_node_path(first[:common])} has too few hashes")
    return merkle.root_hash(part)


# growing -------------------------------------------------------------------------------------------------------------


def add(read: Read, size: int, root: bytes, envelope: bytes) -> Growth:
    """Return what changes when entry `size` is appended to the tree of `size` entries with this root.

    Along the edge where it grows every stored hash is compared, from the root down. Raises `SignatureError`.
    """
    digits = _digits(size)
    edge = _edge(read, digits, size, root)
    files = {entry_path(size): envelope}
    below = leaf_of(envelope)
    for depth in range(DIGITS - 1, -1, -1):
        hashes = [*edge[depth][: int(digits[depth], 16)], below]
        files[_node_path(digits[:depth])] = b"".join(hashes)
        below = merkle.root_hash(hashes)
    return Growth(below, files)


def _edge(read: Read, digits: str, size: int, root: bytes) -> list[Sequence[bytes]]:
    """Return the hashes in each folder on the way to the next entry, none for folders that are not there yet."""
    edge: list[Sequence[bytes]] = []
    wanted: bytes | None = root if size else None
    if not size and root != merkle.EMPTY:
        raise SignatureError("the log's tree is not the signed one: an empty log has the empty tree's root")
    for depth in range(DIGITS):
        number = int(digits[depth], 16)
        hashes = _node(read, digits[:depth]) if wanted is not None else []
        if wanted is not None and merkle.root_hash(hashes) != wanted:
            raise SignatureError(f"the log's tree is not the signed one: {_node_path(digits[:depth])}")
        begun = any(digit != "0" for digit in digits[depth + 1 :])  # whether the next folder on the way has begun
        if len(hashes) != number + begun:
            raise SignatureError(
                f"the log's tree is not the signed one: {_node_path(digits[:depth])} has other entries"
            )
        edge.append(hashes)
        wanted = hashes[number] if begun else None
    return edge
