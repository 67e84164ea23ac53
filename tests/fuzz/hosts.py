"""What hostile code hands to the host: frames, an engine's stream, images, layers, reports, files, Git trees."""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fuzz.target import Target
from support import images
from support.gitrepos import make_project

from agent_pipeline import clock
from agent_pipeline.documents import strict
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.replay import report
from agent_pipeline.repository import trees
from agent_pipeline.repository.clone import Clone
from agent_pipeline.sandbox import frames
from agent_pipeline.sandbox.images import archive, identity, layers, requirements
from agent_pipeline.sandbox.images.layers import FILE, LINK, Entry
from agent_pipeline.sandbox.images.store import Store, verified
from agent_pipeline.sandbox.links import AttachedLink, Link, PipeLink
from agent_pipeline.workspace import create, harvest

TAG: Final = b"01234567"
FRAME_LIMIT: Final = 1 << 16


@functools.cache
def place() -> Path:
    """A directory of this process alone."""
    folder = Path(tempfile.mkdtemp(prefix="agent-pipeline-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def frame(kind: int, *fields: bytes) -> bytes:
    """A frame as the sandbox's PID 1 writes it."""
    body = frames.pack(fields)
    return bytes([kind]) + TAG + len(body).to_bytes(4, "big") + body


def _answers(link: Link) -> None:
    """Read one answer of each kind, as a session does."""
    until = clock.monotonic() + 5
    kind, fields = frames.receive(link, TAG, limit=FRAME_LIMIT, deadline=until)
    for reader in (
        lambda: frames.ended(fields, 100),
        lambda: frames.names(fields),
        lambda: frames.facts(fields),
        lambda: frames.expect((kind, fields), frames.RESULT, "x"),
    ):
        with contextlib.suppress(AgentPipelineError, FileNotFoundError, IsADirectoryError, ValueError):
            reader()


def _frames(data: bytes) -> None:
    reader, theirs = os.pipe()
    unread, writer = os.pipe()
    link = PipeLink(reader, writer)
    try:
        os.write(theirs, data[: 1 << 16])
        os.close(theirs)
        _answers(link)
    finally:
        link.close()
        os.close(unread)


def _stream(data: bytes) -> None:
    """The Docker engine's stream, around the same frames."""
    ours, theirs = socket.socketpair()
    link = AttachedLink(ours)
    with theirs:
        try:
            theirs.sendall(data[: 1 << 16])
            theirs.shutdown(socket.SHUT_WR)
            _answers(link)
        finally:
            link.close()
            link.complaints()


def _block(kind: int, data: bytes) -> bytes:
    return bytes([kind, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


def _frame_seeds() -> list[bytes]:
    return [
        frame(frames.RESULT, b"0", b"0", b"output"),
        frame(frames.NAMES, b"a", b"b/"),
        frame(frames.POSTURE, b"user", b"10001", b"network", b"none"),
        frame(frames.FAULT, b"1"),
    ]


@functools.cache
def _image() -> bytes:
    store = Store(images.config(place() / "made"))
    image = images.add(store, [Entry("usr/a", FILE, content=b"1"), Entry("usr/l", LINK, link="a")])
    return b"".join(archive.stream(image))


def _archive(data: bytes) -> None:
    """What enters the store is whole: it has the name of its configuration, and its layers are those that it names."""
    folder = place() / "read"
    image = archive.read(Store(images.config(folder)), io.BytesIO(data))
    assert image.identity == strict.sha256((image.folder / "config.json").read_bytes())
    assert len(list(verified(image))) == len(identity.read((image.folder / "config.json").read_bytes()).layers)
    shutil.rmtree(folder)


def _layer(data: bytes) -> None:
    layers.check(io.BytesIO(data))
    for entry in layers.read(io.BytesIO(data)):
        layers.check_path(entry.path)


@functools.cache
def _layer_seed() -> bytes:
    file = io.BytesIO()
    layers.write([Entry("usr/a", FILE, content=b"1"), Entry("usr/l", LINK, link="a")], file)
    return file.getvalue()


def _report(data: bytes) -> None:
    found = report.parse(data)
    assert found.complete or found.status is None
    for name in found.passed | found.failed | found.skipped:
        name.encode("utf-8")


REPORT: Final = b'["start"]\n["test", "tests/test_a.py::test_b", "passed"]\n["end", 0]\n'


@functools.cache
def _clone() -> Clone:
    files = {"README": b"hello\n", "src/a.py": b"x = 1\n", ".gitignore": b"*.log\n"}
    return make_project(place() / "project", files).clone


@functools.cache
def _base() -> str:
    return _clone().tree(_clone().commit("HEAD"))


def _tree(data: bytes) -> None:
    """A tree object of whatever bytes, compared with the base as a proposal's is."""
    oid = str(_clone().objects.write(2, data))
    trees.compare(_clone(), _base(), oid)


def _tree_seeds() -> list[bytes]:
    raw = _clone().objects[_base()].read_raw()
    return [raw, raw.replace(b"40000 src", b"40000 ...")]


def _put(path: Path, data: bytes) -> None:
    """Write a file, without waiting for a reader where a pipe has that name already."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK, 0o644), "wb") as file:
        file.write(data)


_MAKERS: Final[tuple[Callable[[Path, bytes], object], ...]] = (
    _put,
    lambda path, _: path.mkdir(),
    lambda path, data: path.symlink_to(os.fsdecode(data.replace(b"\0", b"") or b"x")),
    lambda path, _: os.mkfifo(path),
    lambda path, _: path.unlink() if not path.is_dir() else path.rmdir(),
    lambda path, data: path.chmod(int.from_bytes(data[:2], "big") & 0o7777),
    lambda path, _: os.link(path, f"{path}2"),
)


def _harvest(data: bytes) -> None:
    """Files as hostile code leaves them: each line is a kind, a name and what is in it."""
    with create(
        _clone(), _base(), may_read=lambda _: True, scope="", lowers=place() / "lowers", parent=place() / "runs",
        disk_mb=16, uid=10001, reach="copy",
    ) as copy:  # fmt: skip
        for line in data.split(b"\n")[:20]:
            kind, name, content = line[:1] or b"\0", line[1:60].replace(b"\0", b""), line[60:]
            with contextlib.suppress(OSError, ValueError):
                place_of = copy.path.joinpath(os.fsdecode(name))
                if copy.path in Path(os.path.normpath(place_of)).parents and not place_of.parent.is_symlink():
                    _MAKERS[kind[0] % len(_MAKERS)](place_of, content)
        harvest(_clone(), copy, ignore=["*.pyc"], max_bytes=1 << 20, max_files=50)


TARGETS: Final = (
    Target("frames", _frames, _frame_seeds, (TAG, b"\0\0\0\1", b"\xff\xff\xff\xff")),
    Target("stream", _stream, lambda: [_block(1, seed) + _block(2, b"no") for seed in _frame_seeds()], (TAG,)),
    Target("archive", _archive, lambda: [_image()], (b"ustar\0", b"manifest.json", b"../", b"\0" * 512)),
    Target("layer", _layer, lambda: [_layer_seed()], (b"ustar\0", b"../", b"\0" * 512)),
    Target("report", _report, lambda: [REPORT], (b'["end", 0]\n', b"\n", b'["test", ', b"1e999", b"\\ud800")),
    Target("tree", _tree, _tree_seeds, (b"100644 a\0", b"40000 b\0", b"120000 l\0", b"160000 m\0", b"\0" * 20)),
    Target("harvest", _harvest, lambda: [b"\0x.py\n\1d\n\2link\n\3pipe\n\4README\n\5src/a.py\n\6src/a.py"]),
    Target("image-config", identity.read, lambda: [_config_seed()], (b'"', b"{}", b"null")),
    Target("requirements", requirements.read, lambda: [LOCK], (b" --hash=sha256:", b"\\\n", b"; ", b"==")),
)
LOCK: Final = b"attrs==25.1.0 \\\n    --hash=sha256:" + b"1" * 64 + b"\n"


def _config_seed() -> bytes:
    store = Store(images.config(place() / "made"))
    image = images.add(store, [Entry("usr/a", FILE, content=b"1"), Entry("usr/l", LINK, link="a")])
    return (image.folder / "config.json").read_bytes()
