"""Layers: one form for the same files, and nothing else is accepted."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_pipeline.errors import RejectedError
from agent_pipeline.sandbox.images import layers
from agent_pipeline.sandbox.images.layers import DIRECTORY, EPOCH, FILE, LINK, Entry

ENTRIES = [
    Entry("usr/bin/tool", FILE, executable=True, content=b"#!/bin/sh\n"),
    Entry("usr/lib/a", LINK, link="../bin/tool"),
    Entry("empty", DIRECTORY),
    Entry("usr/share/" + "long/" * 60 + "name", FILE, content=b"x" * 1000),
    Entry("usr/share/Főtanúsítvány", FILE, content=b""),
]


def written(entries: list[Entry]) -> tuple[str, bytes]:
    file = io.BytesIO()
    return layers.write(entries, file), file.getvalue()


def archive(*members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for member in members:
            info, content = member if isinstance(member, tuple) else (member, b"")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file


def member(name: str, kind: bytes = FILE, mode: int = 0o644, link: str = "", **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.mtime = kind, mode, link, EPOCH
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def test_the_order_of_entries_does_not_matter() -> None:
    assert written(ENTRIES) == written(ENTRIES[::-1])


def test_what_is_written_is_accepted_and_read_back() -> None:
    digest, data = written(ENTRIES)
    file = io.BytesIO(data)
    assert layers.check(file) == digest
    found = {entry.path: entry for entry in layers.read(file)}
    with found["usr/bin/tool"].open() as content:
        assert content.read(10) == b"#!/bin/sh\n"
    assert found["usr/bin/tool"].executable
    assert found["usr/lib/a"].link == "../bin/tool"
    assert found["usr/share"].kind == DIRECTORY


def test_the_form_is_what_it_always_was() -> None:
    """Identities are made of it: a change of a single byte here is another identity for every image in the world."""
    digest, _ = written([Entry("a", FILE, content=b"1"), Entry("b/c", LINK, link="../a")])
    assert digest == "d8c3f4ceee66182449656380a3dc4a4f047f126dadf38e4f5ec228664e4d677a"


paths = st.lists(
    st.text(st.characters(exclude_characters="/", codec="utf-8"), max_size=20), min_size=1, max_size=4
).map("/".join)


@given(st.dictionaries(paths, st.binary(max_size=40), max_size=8))
def test_any_files_are_written_in_an_accepted_form_or_refused(files: dict[str, bytes]) -> None:
    entries = [Entry(path, FILE, content=content) for path, content in files.items()]
    try:
        digest, data = written(entries)
    except RejectedError:
        return
    file = io.BytesIO(data)
    assert layers.check(file) == digest
    assert {entry.path for entry in layers.read(file) if entry.kind == FILE} == set(files)


@settings(max_examples=300)
@given(st.data())
def test_damaged_layers_are_refused_or_are_other_layers(data: st.DataObject) -> None:
    _, good = written(ENTRIES)
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, 6 * 512))
        damaged[position] = data.draw(st.integers(0, 255))
    try:
        digest = layers.check(io.BytesIO(bytes(damaged)))
    except RejectedError:
        return
    again = io.BytesIO()
    assert layers.write(list(layers.read(io.BytesIO(bytes(damaged)))), again) == digest
    assert again.getvalue() == bytes(damaged)


@given(st.binary(max_size=3000))
def test_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(RejectedError):
        layers.check(io.BytesIO(data))


HOSTILE: dict[str, Callable[[], io.BytesIO]] = {
    "traversal": lambda: archive((member("../escaped"), b"x")),
    "traversal in the middle": lambda: archive(member("a", DIRECTORY, 0o755), (member("a/../../b"), b"x")),
    "absolute": lambda: archive((member("/etc/passwd"), b"x")),
    "empty component": lambda: archive((member("a//b"), b"x")),
    "control character": lambda: archive((member("a\nb"), b"x")),
    "whiteout": lambda: archive(member(".wh.etc")),
    "opaque whiteout": lambda: archive(member("usr", DIRECTORY, 0o755), member("usr/.wh..wh..opq")),
    "character device": lambda: archive(member("dev-null", tarfile.CHRTYPE, 0o666, devmajor=1, devminor=3)),
    "block device": lambda: archive(member("disk", tarfile.BLKTYPE, 0o666)),
    "pipe": lambda: archive(member("pipe", tarfile.FIFOTYPE)),
    "hard link": lambda: archive((member("a"), b"x"), member("b", tarfile.LNKTYPE, link="a")),
    "hard link outside": lambda: archive(member("b", tarfile.LNKTYPE, link="/etc/shadow")),
    "contiguous file": lambda: archive((member("a", tarfile.CONTTYPE), b"x")),
    "setuid": lambda: archive((member("su", mode=0o4755), b"x")),
    "writable by all": lambda: archive((member("a", mode=0o666), b"x")),
    "owner": lambda: archive((member("a", uid=1000), b"x")),
    "owner's name": lambda: archive((member("a", uname="root"), b"x")),
    "time": lambda: archive((member("a", mtime=0), b"x")),
    "extended attribute": lambda: archive((member("a", pax_headers={"SCHILY.xattr.security.capability": "x"}), b"x")),
    "size in an extended header": lambda: archive((member("a", pax_headers={"size": "1"}), b"x")),
    "sparse": lambda: archive((member("a", pax_headers={"GNU.sparse.major": "1"}), b"x")),
    "huge extended header": lambda: archive((member("a", pax_headers={"comment": "x" * 100_000}), b"x")),
    "global header": lambda: archive(member("g", tarfile.XGLTYPE), (member("a"), b"x")),
    "GNU long name": lambda: archive((member("a/" * 60 + "b"), b"x"), form=tarfile.GNU_FORMAT),
    "below a file": lambda: archive((member("a"), b"x"), (member("a/b"), b"x")),
    "below a link": lambda: archive(member("a", LINK, 0o777, link="/etc"), (member("a/passwd"), b"x")),
    "twice": lambda: archive((member("a"), b"x"), (member("a"), b"y")),
    "unsorted": lambda: archive((member("b"), b"x"), (member("a"), b"x")),
    "no parent": lambda: archive((member("a/b"), b"x")),
    "dev is a link": lambda: archive(member("dev", LINK, 0o777, link="/tmp")),
    "workspace is a file": lambda: archive((member("workspace"), b"x")),
    "directory with content": lambda: archive((member("a", DIRECTORY, 0o755), b"x")),
    "cut off": lambda: io.BytesIO(archive((member("a"), b"x" * 5000)).getvalue()[:2048]),
    "something behind the end": lambda: io.BytesIO(written(ENTRIES)[1] + written(ENTRIES)[1]),
    "compressed": lambda: io.BytesIO(__import__("gzip").compress(written(ENTRIES)[1])),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_layers_are_refused(name: str) -> None:
    with pytest.raises(RejectedError):
        layers.check(HOSTILE[name]())


@pytest.mark.parametrize(
    "entries",
    [
        [Entry("a", FILE), Entry("a", FILE)],
        [Entry("a", FILE), Entry("a/b", FILE)],
        [Entry("tmp", LINK, link="/")],
        [Entry("", FILE)],
        [Entry("a/.wh.b", FILE)],
        [Entry("a" * 2000, FILE)],
        [Entry("\udc80", FILE)],
    ],
)
def test_what_no_layer_may_carry_is_not_written(entries: list[Entry]) -> None:
    with pytest.raises(RejectedError):
        layers.write(entries, None)
