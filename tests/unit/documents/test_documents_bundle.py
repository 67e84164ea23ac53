"""The container of a bundle: one form, every byte covered, nothing read before its size is known."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.documents import bundle, git_object, strict
from agent_pipeline.documents.bundle import BundleManifest
from agent_pipeline.documents.git_object import GitObject
from agent_pipeline.errors import SchemaError

MANIFEST = BundleManifest(
    version=1, request="a" * 16, number=1, repository="https://git.example.org/acme/app", branch="refs/heads/main",
    trial=False, rules="1" * 40, record="2" * 40, contents=(),
)  # fmt: skip
CONTENTS = {
    "record/request.dsse.json": b"{}",
    "record/1/proposal.json": b"a manifest",
    "rules/policy.yaml": b"",
    "log/proof.json": b"an entry",
    f"objects/{'3' * 40}": b"blob 1\0x",
}
GOOD = bundle.write(MANIFEST, CONTENTS)


def framed(head: Any, rest: bytes) -> bytes:
    """A file with any manifest, its first line right."""
    data = head if isinstance(head, bytes) else strict.canonical(head)
    return f"agentpatch 1 {strict.sha256(data)} {len(data)}\n".encode() + data + rest


def head_and_rest(data: bytes = GOOD) -> tuple[dict[str, Any], bytes]:
    line, _, rest = data.partition(b"\n")
    size = int(line.rpartition(b" ")[2])
    return json.loads(rest[:size]), rest[size:]


def test_what_is_written_is_read_and_written_to_the_same_bytes() -> None:
    read = bundle.read(GOOD)
    assert dict(read.contents) == CONTENTS
    assert bundle.write(read.manifest, read.contents) == GOOD
    assert bundle.write(MANIFEST, dict(reversed(CONTENTS.items()))) == GOOD
    assert read.below("record") == {"1/proposal.json": b"a manifest", "request.dsse.json": b"{}"}


def test_every_byte_is_covered() -> None:
    for place in range(len(GOOD)):
        for flip in (1, 0x20, 0x80):
            with pytest.raises(SchemaError):
                bundle.read(GOOD[:place] + bytes([GOOD[place] ^ flip]) + GOOD[place + 1 :])


def test_every_cut_and_every_addition_is_refused() -> None:
    for place in range(len(GOOD)):
        with pytest.raises(SchemaError):
            bundle.read(GOOD[:place])
    for more in (b"\0", b"\n", GOOD):
        with pytest.raises(SchemaError):
            bundle.read(GOOD + more)
        with pytest.raises(SchemaError):
            bundle.read(more + GOOD)


NAMES = {
    "absolute": "/etc/passwd",
    "absolute below": "record//etc/passwd",
    "up": "record/../x",
    "here": "record/./x",
    "hidden": "record/.git",
    "an option": "record/-x",
    "a folder": "record/x/",
    "deep": "record/1/2/3/4",
    "another folder": "work/x",
    "no folder": "x",
    "backslash": "record/a\\b",
    "a colon": "record/c:x",
    "a control character": "record/a\nb",
    "invisible": "record/a\u200bb",
    "no ASCII": "record/\u00e4",
    "an object in capitals": f"objects/{'A' * 40}",
    "an object too short": f"objects/{'a' * 39}",
    "an entry without number": "log/x.dsse.json",
    "a last newline": "record/x\n",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_no_other_name_is_read_or_written(name: str) -> None:
    with pytest.raises(SchemaError):
        bundle.write(MANIFEST, {name: b"x"})
    head, _ = head_and_rest()
    head["contents"] = [{"name": name, "sha256": strict.sha256(b"x"), "size": 1}]
    with pytest.raises(SchemaError):
        bundle.read(framed(head, b"x"))


def _swap(head: dict[str, Any]) -> None:
    head["contents"][0], head["contents"][1] = head["contents"][1], head["contents"][0]


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "out of order": _swap,
    "one twice": lambda head: head["contents"].append(head["contents"][-1]),
    "one left out": lambda head: head["contents"].pop(0),
    "none at all": lambda head: head["contents"].clear(),
    "a negative size": lambda head: head["contents"][0].update(size=-1),
    "a huge size": lambda head: head["contents"][0].update(size=1 << 62),
    "more than one content may have": lambda head: head["contents"][0].update(size=bundle.MAX_CONTENT + 1),
    "another size": lambda head: head["contents"][0].update(size=head["contents"][0]["size"] + 1),
    "another digest": lambda head: head["contents"][0].update(sha256="0" * 64),
    "a word more": lambda head: head.update(compressed=False),
    "a mode": lambda head: head["contents"][0].update(mode="120000"),
    "another version": lambda head: head.update(version=2),
    "no record": lambda head: head.pop("record"),
    "a tag for a commit": lambda head: head.update(merge="v1"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_other_manifest_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    head, rest = head_and_rest()
    change(head)
    with pytest.raises(SchemaError):
        bundle.read(framed(head, rest))


def test_a_manifest_that_is_not_canonical_is_refused() -> None:
    head, rest = head_and_rest()
    for data in (json.dumps(head).encode(), strict.canonical(head) + b" ", b"\xef\xbb\xbf" + strict.canonical(head)):
        with pytest.raises(SchemaError):
            bundle.read(framed(data, rest))


def test_two_files_of_one_name_are_refused_however_the_manifest_says_it() -> None:
    head, _ = head_and_rest()
    one = {"name": "rules/policy.yaml", "sha256": strict.sha256(b"x"), "size": 1}
    with pytest.raises(SchemaError, match="twice"):
        bundle.read(framed(head | {"contents": [one, one]}, b"xx"))
    text = strict.canonical(head).replace(b'"number":1', b'"number":1,"number":1')
    with pytest.raises(SchemaError, match="duplicate"):
        bundle.read(framed(text, b""))


def test_declared_sizes_take_no_memory() -> None:
    head, _ = head_and_rest()
    item = {"sha256": "0" * 64, "size": bundle.MAX_CONTENT}
    many = [{"name": f"log/{number:08d}.dsse.json"} | item for number in range(1000)]
    data = framed(head | {"contents": many}, b"")
    lines = [data, b"agentpatch 1 " + b"0" * 64 + b" 999999999\n", b"agentpatch 1 " + b"0" * 64 + b" 8388608\n{"]
    tracemalloc.start()
    try:
        for one in lines:
            with pytest.raises(SchemaError):
                bundle.read(one)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_more_than_a_bundle_holds_is_not_written() -> None:
    with pytest.raises(SchemaError, match="too large"):
        bundle.write(MANIFEST, {f"log/{number:08d}.dsse.json": b"" for number in range(bundle.MAX_CONTENTS + 1)})


@given(st.binary(max_size=400))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(SchemaError):
        bundle.read(data)


@given(st.integers(0, len(GOOD)), st.integers(0, 40), st.binary(max_size=40))
def test_a_piece_exchanged_is_refused_or_the_same(place: int, cut: int, more: bytes) -> None:
    data = GOOD[:place] + more + GOOD[place + cut :]
    if data == GOOD:
        return
    with pytest.raises(SchemaError):
        bundle.read(data)


@given(st.dictionaries(st.text(max_size=12), st.integers() | st.text(max_size=8) | st.lists(st.none()), max_size=6))
def test_any_manifest_with_a_right_first_line_is_our_own_error(extra: dict[str, Any]) -> None:
    head, rest = head_and_rest()
    for value in (extra, head | extra):
        data = framed(json.dumps(value).encode("utf-8", "surrogatepass"), rest)
        if data != GOOD:
            with pytest.raises(SchemaError):
                bundle.read(data)


@given(st.sampled_from(git_object.KINDS), st.binary(max_size=300), st.booleans())
def test_a_git_object_is_what_its_name_says(kind: str, content: bytes, sha256: bool) -> None:  # noqa: FBT001 - drawn
    one = GitObject(kind, content)
    name = one.name(sha256=sha256)
    assert git_object.read(one.to_bytes(), name) == one
    for other in (one.to_bytes() + b"x", one.to_bytes()[1:], b"tag" + one.to_bytes(), content):
        with pytest.raises(SchemaError):
            git_object.read(other, name)
    with pytest.raises(SchemaError):
        git_object.read(one.to_bytes(), "0" * len(name))
