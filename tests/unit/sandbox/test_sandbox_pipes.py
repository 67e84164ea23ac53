from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent_pipeline import clock
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import frames, pipes
from agent_pipeline.sandbox.links import PipeLink

Answer = Callable[[tuple[bytes, ...]], tuple[int, list[bytes]]]


class Peer:
    """PID 1 at the far end of two real pipes: what it answers to the offer, and where it goes on, is a test's."""

    def __init__(self, workspace: Path) -> None:
        self.workspace, self.opened = workspace, list[int]()
        reader, to_peer = os.pipe()
        from_peer, writer = os.pipe()
        self.link, self.own = PipeLink(from_peer, to_peer), PipeLink(reader, writer)

    def answer(self, how: Answer) -> None:
        threading.Thread(target=self._answer, args=(how,), daemon=True).start()

    def _answer(self, how: Answer) -> None:
        until = clock.monotonic() + 10
        header = self.own.receive(frames.HEADER, until)
        names = frames.unpack(self.own.receive(int.from_bytes(header[9:], "big"), until))
        kind, fields = how(names)
        frames.send(self.own, kind, header[1:9], fields, until)

    def accept(self, names: tuple[bytes, ...]) -> tuple[int, list[bytes]]:
        for name, way in zip(names, (os.O_RDONLY, os.O_WRONLY), strict=True):
            self.opened.append(os.open(os.fsencode(self.workspace) + b"/" + name, way | os.O_NONBLOCK))
        return frames.DONE, []

    def close(self) -> None:
        for descriptor in self.opened:
            os.close(descriptor)
        self.opened.clear()
        self.link.close()
        self.own.close()


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    one = Peer(tmp_path)
    yield one
    one.close()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_frames_go_by_the_pipes_and_their_names_are_gone(peer: Peer, tmp_path: Path) -> None:
    peer.answer(peer.accept)
    link = pipes.shorter(peer.link, tmp_path)
    assert link is not peer.link
    assert list(tmp_path.iterdir()) == []
    until = clock.monotonic() + 10
    link.send(b"question", until)
    assert os.read(peer.opened[0], 99) == b"question"
    os.write(peer.opened[1], b"answer")
    assert link.receive(6, until) == b"answer"
    link.close()
    assert os.read(peer.opened[0], 99) == b""  # hanging up shows


def test_the_far_sides_end_shows(peer: Peer, tmp_path: Path) -> None:
    peer.answer(peer.accept)
    link = pipes.shorter(peer.link, tmp_path)
    peer.close()
    with pytest.raises(SandboxError, match="gone"):
        link.receive(1, clock.monotonic() + 10)
    link.close()


def test_one_that_cannot_open_them_goes_on_as_before(peer: Peer, tmp_path: Path) -> None:
    peer.answer(lambda _names: (frames.FAULT, [b"%d" % frames.NOT_FOUND]))
    before = descriptors()
    assert pipes.shorter(peer.link, tmp_path) is peer.link
    assert list(tmp_path.iterdir()) == []
    assert descriptors() == before


@pytest.mark.parametrize("kind", [frames.RESULT, frames.POSTURE, 99])
def test_any_other_answer_is_a_breach(peer: Peer, tmp_path: Path, kind: int) -> None:
    peer.answer(lambda _names: (kind, []))
    before = descriptors()
    with pytest.raises(SandboxError, match="protocol"):
        pipes.shorter(peer.link, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert descriptors() == before


def test_a_directory_that_takes_none_is_said(peer: Peer, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="no named pipe can be made"):
        pipes.shorter(peer.link, tmp_path / "missing")
