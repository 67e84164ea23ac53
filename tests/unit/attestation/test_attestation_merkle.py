"""The Merkle tree against RFC 6962's own definition, and proofs of every entry of every small log."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_pipeline.attestation import log_tree, merkle
from agent_pipeline.errors import SignatureError

# The reference tree of certificate-transparency and transparency-dev/merkle: eight leaves and the roots over 0 to 8.
LEAVES = [bytes.fromhex(text) for text in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = [bytes.fromhex(text) for text in (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)]  # fmt: skip


def naive(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, as it is written."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive(leaves[:k]) + naive(leaves[k:])).digest()


def leaves_of(size: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(size)]


def hashed(leaves: list[bytes], low: int, high: int) -> bytes:
    return naive(leaves[low:high])


def inclusion(leaves: list[bytes], index: int) -> list[bytes]:
    return [hashed(leaves, *span) for span in merkle.inclusion_ranges(index, len(leaves))]


def consistency(leaves: list[bytes], first: int) -> list[bytes]:
    return [hashed(leaves, *span) for span in merkle.consistency_ranges(first, len(leaves))]


@pytest.mark.parametrize("size", range(9))
def test_the_reference_tree(size: int) -> None:
    assert merkle.root_hash(merkle.leaf_hash(leaf) for leaf in LEAVES[:size]) == ROOTS[size] == naive(LEAVES[:size])


def test_rfc_6962_s_examples_of_proofs() -> None:
    """Section 2.1.3: audit paths of d0, d3, d4, d6, and the proofs from 3, 4 and 6 to 7 leaves."""
    assert [merkle.inclusion_ranges(index, 7) for index in (0, 3, 4, 6)] == [
        [(1, 2), (2, 4), (4, 7)],
        [(2, 3), (0, 2), (4, 7)],
        [(5, 6), (6, 7), (0, 4)],
        [(4, 6), (0, 4)],
    ]
    assert [merkle.consistency_ranges(first, 7) for first in (3, 4, 6)] == [
        [(2, 3), (3, 4), (0, 2), (4, 7)],
        [(4, 7)],
        [(4, 6), (6, 7), (0, 4)],
    ]


@given(st.integers(0, 300))
@settings(max_examples=40, deadline=None)
def test_the_root_is_rfc_6962_s(size: int) -> None:
    assert merkle.root_hash(merkle.leaf_hash(leaf) for leaf in leaves_of(size)) == naive(leaves_of(size))


def test_every_entry_of_every_small_log_is_proven() -> None:
    for size in range(1, 40):
        leaves = leaves_of(size)
        root = naive(leaves)
        for index in range(size):
            proof = inclusion(leaves, index)
            merkle.check_inclusion(merkle.leaf_hash(leaves[index]), index, size, proof, root)
            for other in {0, size - 1, (index + 1) % size} - {index}:
                with pytest.raises(SignatureError):
                    merkle.check_inclusion(merkle.leaf_hash(leaves[index]), other, size, proof, root)


def test_every_small_log_continues_every_smaller_one() -> None:
    for size in range(1, 40):
        leaves = leaves_of(size)
        for first in range(1, size + 1):
            proof = consistency(leaves, first)
            merkle.check_consistency(first, size, proof, naive(leaves[:first]), naive(leaves))
            for wrong in (proof[:-1], [*proof, merkle.EMPTY], proof[::-1]):
                if wrong != proof:
                    with pytest.raises(SignatureError):
                        merkle.check_consistency(first, size, wrong, naive(leaves[:first]), naive(leaves))


def test_nothing_is_no_beginning() -> None:
    for first, second in ((0, 3), (4, 3), (-1, 3), (0, 0)):
        with pytest.raises(SignatureError):
            merkle.check_consistency(first, second, [], merkle.EMPTY, naive(leaves_of(3)))


@given(st.integers(1, 5000), st.data())
@settings(max_examples=60, deadline=None)
def test_one_bit_changed_anywhere_fails(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    spans = merkle.inclusion_ranges(index, size)
    leaf = merkle.leaf_hash(b"%d" % index)
    proof = [hashlib.sha256(b"%d %d" % span).digest() for span in spans]  # any hashes make a tree
    root = _root_above(leaf, index, spans, proof)
    merkle.check_inclusion(leaf, index, size, proof, root)
    place, bit = data.draw(st.integers(0, len(proof) + 1)), data.draw(st.integers(0, 255))
    parts = [leaf, root, *proof]
    parts[place] = (int.from_bytes(parts[place], "big") ^ 1 << bit).to_bytes(32, "big")
    with pytest.raises(SignatureError):
        merkle.check_inclusion(parts[0], index, size, parts[2:], parts[1])
    for wrong in (proof[1:], proof[:-1]):
        if proof:
            with pytest.raises(SignatureError):
                merkle.check_inclusion(leaf, index, size, wrong, root)
    with pytest.raises(SignatureError):
        merkle.check_inclusion(leaf, index, size, [*proof, root], root)
    with pytest.raises(SignatureError, match="32 bytes"):
        merkle.check_inclusion(leaf, index, size, [*proof, root[:31]], root)


def _root_above(leaf: bytes, index: int, spans: list[tuple[int, int]], proof: list[bytes]) -> bytes:
    found = leaf
    for (low, _), sibling in zip(spans, proof, strict=True):
        found = merkle.node_hash(found, sibling) if index < low else merkle.node_hash(sibling, found)
    return found


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.lists(st.binary(min_size=32, max_size=32), max_size=24))
@settings(max_examples=60, deadline=None)
def test_any_hashes_end_in_our_own_error(one: int, other: int, proof: list[bytes]) -> None:
    first, second = sorted((one, other))
    with pytest.raises(SignatureError):
        merkle.check_consistency(first, second, proof, b"\x01" * 32, b"\x02" * 32)
    with pytest.raises(SignatureError):
        merkle.check_inclusion(b"\x01" * 32, first - 1, second, proof, b"\x02" * 32)


# The tree as it is stored.


def test_a_stored_tree_grows_as_the_definition_says_and_proves_all_of_it() -> None:
    files: dict[str, bytes] = {}
    envelopes = [b"%d" % number for number in range(600)]
    root, leaves = merkle.EMPTY, [hashlib.sha256(data).digest() for data in envelopes]
    for size, envelope in enumerate(envelopes):
        grown = log_tree.add(files.get, size, root, envelope)
        files |= grown.files
        root = grown.root
        if size % 37 == 0 or size in (15, 16, 17, 255, 256, 257):
            assert root == naive(leaves[: size + 1])
    for size in (1, 2, 15, 16, 17, 33, 255, 256, 257, 600):
        now = dict(files) if size == len(envelopes) else stored(envelopes[:size])
        for index in {0, 1, 14, 15, 16, 254, 255, 256, size - 1} & set(range(size)):
            proof = log_tree.inclusion(now.get, index, size)
            merkle.check_inclusion(log_tree.leaf_of(envelopes[index]), index, size, proof, naive(leaves[:size]))
            proof = log_tree.consistency(now.get, index + 1, size)
            merkle.check_consistency(index + 1, size, proof, naive(leaves[: index + 1]), naive(leaves[:size]))


def stored(envelopes: list[bytes]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    root = merkle.EMPTY
    for size, envelope in enumerate(envelopes):
        grown = log_tree.add(files.get, size, root, envelope)
        files |= grown.files
        root = grown.root
    return files


@pytest.mark.parametrize("size", [1, 16, 17, 300])
def test_growing_notices_what_is_stored_wrong_where_it_grows(size: int) -> None:
    files = stored([b"%d" % number for number in range(size)])
    root = naive([hashlib.sha256(b"%d" % number).digest() for number in range(size)])
    edge = [path for path in log_tree.add(files.get, size, root, b"next").files if path in files]
    assert edge
    for path in edge:
        for wrong in (b"", files[path][:-1], files[path][:-32], files[path] + b"\x05" * 32, b"\x05" * len(files[path])):
            with pytest.raises(SignatureError):
                log_tree.add((files | {path: wrong}).get, size, root, b"next")
    with pytest.raises(SignatureError):
        log_tree.add(files.get, size, merkle.EMPTY, b"next")
    with pytest.raises(SignatureError):
        log_tree.add(files.get, size + 1, root, b"next")


def test_there_is_an_end() -> None:
    assert log_tree.entry_path(log_tree.MAX_ENTRIES - 1) == "entries/f/f/f/f/f"
    for index in (-1, log_tree.MAX_ENTRIES):
        with pytest.raises(SignatureError, match="at most"):
            log_tree.entry_path(index)
