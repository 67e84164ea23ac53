from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline import clock
from agent_pipeline.documents.provenance import SandboxFacts
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import frames
from agent_pipeline.sandbox.links import PipeLink
from agent_pipeline.sandbox.session import Session

FACTS = SandboxFacts("bubblewrap", "0.8.0", "bwrap", "0" * 64, "0" * 64, "0" * 64, (), "copy")


class Peer:
    """A frame agent at the other end of two real pipes, as hostile as a test wants it to be."""

    def __init__(self) -> None:
        self.requests, to_peer = os.pipe()
        from_peer, self.answers = os.pipe()
        self.link = PipeLink(from_peer, to_peer)
        self.ended = 0
        self.session = Session(self.link, FACTS, {"PATH": "/usr/bin"}, self._end)

    def _end(self) -> str | None:
        self.ended += 1
        return None

    def request(self) -> tuple[int, bytes, tuple[bytes, ...]]:
        with open(self.requests, "rb", closefd=False, buffering=0) as pipe:
            header = pipe.read(frames.HEADER)
            payload = pipe.read(int.from_bytes(header[9:], "big"))
        return header[0], header[1:9], frames.unpack(payload)

    def close(self) -> None:
        self.link.close()
        for descriptor in (self.requests, self.answers):
            try:
                os.close(descriptor)
            except OSError:
                continue


@pytest.fixture
def peer() -> Iterator[Peer]:
    one = Peer()
    yield one
    one.close()


def frame(kind: int, tag: bytes, payload: bytes) -> bytes:
    return bytes([kind]) + tag + len(payload).to_bytes(4, "big") + payload


def answering(peer: Peer, answer: Callable[[bytes], bytes]) -> threading.Thread:
    def serve() -> None:
        _, tag, _ = peer.request()
        os.write(peer.answers, answer(tag))
        os.close(peer.answers)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


RESULT = frames.pack([b"0", b"0", b"out"])
HOSTILE = {
    "nothing at all": lambda _tag: b"",
    "half a header": lambda _tag: b"\x42abc",
    "another tag": lambda _tag: frame(frames.RESULT, b"12345678", RESULT),
    "a length of four gigabytes": lambda tag: bytes([frames.RESULT]) + tag + b"\xff\xff\xff\xff",
    "less than it said": lambda tag: bytes([frames.RESULT]) + tag + b"\0\0\0\x40" + RESULT,
    "a type that does not exist": lambda tag: frame(200, tag, RESULT),
    "a request's type": lambda tag: frame(frames.EXEC, tag, RESULT),
    "another answer's type": lambda tag: frame(frames.DATA, tag, frames.pack([b"x"])),
    "a field longer than the frame": lambda tag: frame(frames.RESULT, tag, b"\0\0\1\0abc"),
    "a torn field length": lambda tag: frame(frames.RESULT, tag, b"\0\0"),
    "too few fields": lambda tag: frame(frames.RESULT, tag, frames.pack([b"0", b"0"])),
    "too many fields": lambda tag: frame(frames.RESULT, tag, frames.pack([b"0", b"0", b"", b""])),
    "a code that is no number": lambda tag: frame(frames.RESULT, tag, frames.pack([b"0x1", b"0", b""])),
    "a negative code": lambda tag: frame(frames.RESULT, tag, frames.pack([b"-1", b"0", b""])),
    "a code beyond 255": lambda tag: frame(frames.RESULT, tag, frames.pack([b"256", b"0", b""])),
    "digits of another script": lambda tag: frame(frames.RESULT, tag, frames.pack(["٣".encode(), b"0", b""])),
    "unknown flags": lambda tag: frame(frames.RESULT, tag, frames.pack([b"0", b"8", b""])),
    "success and time-out": lambda tag: frame(frames.RESULT, tag, frames.pack([b"0", b"1", b""])),
    "no code and no reason": lambda tag: frame(frames.RESULT, tag, frames.pack([b"", b"0", b""])),
    "a fault that does not exist": lambda tag: frame(frames.FAULT, tag, frames.pack([b"99"])),
    "a fault with a story": lambda tag: frame(frames.FAULT, tag, frames.pack([b"1", b"os.system"])),
}


@pytest.mark.parametrize("defect", HOSTILE)
def test_a_hostile_answer_ends_the_conversation_quickly(peer: Peer, defect: str) -> None:
    started = clock.monotonic()
    thread = answering(peer, HOSTILE[defect])
    with pytest.raises(SandboxError):
        peer.session.run(["true"], seconds=5)
    assert clock.monotonic() - started < 2
    assert peer.ended == 1
    with pytest.raises(SandboxError, match="gone"):
        peer.session.run(["true"], seconds=5)
    thread.join()


def test_more_output_than_was_asked_for_is_not_read(peer: Peer) -> None:
    payload = frames.pack([b"0", b"0", b"x" * 4000])
    thread = answering(peer, lambda tag: frame(frames.RESULT, tag, payload))
    with pytest.raises(SandboxError, match="at most"):
        peer.session.run(["true"], seconds=5, output_limit=1000)
    thread.join()


def test_a_second_answer_is_nobodys_answer(peer: Peer) -> None:
    def serve() -> None:
        _, tag, _ = peer.request()
        os.write(peer.answers, frame(frames.RESULT, tag, RESULT) * 2)

    thread = threading.Thread(target=serve)
    thread.start()
    assert peer.session.run(["true"], seconds=5).output == b"out"
    thread.join()
    with pytest.raises(SandboxError, match="not asked"):
        peer.session.run(["true"], seconds=5)


def test_silence_ends_at_the_deadline(peer: Peer) -> None:
    started = clock.monotonic()
    with pytest.raises(SandboxError, match="in time"):
        frames.ask(peer.link, frames.EXEC, [], limit=10, deadline=started + 0.2)
    assert clock.monotonic() - started < 1


def test_an_interrupt_that_no_wait_was_there_to_hear_ends_the_next_one(peer: Peer) -> None:
    """As one that comes in the moment before the wait: the kernel gives it to another thread, and Python remembers."""

    def interrupt() -> None:
        peer.request()  # by now the other thread waits for the answer, or is about to
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    started = clock.monotonic()
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        peer.session.run(["true"], seconds=5)
    assert clock.monotonic() - started < 4
    thread.join()


def test_a_peer_that_does_not_read_ends_at_the_deadline(peer: Peer) -> None:
    with pytest.raises(SandboxError, match="in time"):
        frames.ask(peer.link, frames.WRITE, [b"x" * (1 << 20)], limit=10, deadline=clock.monotonic() + 0.2)


def test_closing_from_another_thread_ends_a_wait(peer: Peer) -> None:
    errors: list[Exception] = []

    def wait() -> None:
        try:
            peer.session.run(["true"], seconds=30)
        except SandboxError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    peer.request()
    peer.session.close()
    os.close(peer.answers)  # which the kernel does when PID 1 is killed
    thread.join(timeout=5)
    assert not thread.is_alive()
    assert len(errors) == 1
    peer.session.close()
    assert peer.session._link._owned == []


def test_a_request_is_what_was_asked(peer: Peer) -> None:
    thread_result: list[tuple[int, bytes, tuple[bytes, ...]]] = []

    def serve() -> None:
        thread_result.append(peer.request())
        os.write(peer.answers, frame(frames.RESULT, thread_result[0][1], RESULT))

    thread = threading.Thread(target=serve)
    thread.start()
    peer.session.run(["echo", "a b"], seconds=2, env={"X": "1"}, output_limit=100)
    thread.join()
    kind, _, fields = thread_result[0]
    assert kind == frames.EXEC
    assert fields == (b"2.000", b"100", b"2", b"echo", b"a b", b"PATH=/usr/bin", b"X=1")


@pytest.mark.parametrize("argv", [[], [""], ["a\0b"], ["\ud800"]])
def test_what_no_kernel_takes_is_refused_before_it_is_sent(peer: Peer, argv: list[str]) -> None:
    with pytest.raises(ValueError, match=r"NUL|surrogate|no command"):
        peer.session.run(argv, seconds=1)
    assert peer.ended == 0


@pytest.mark.parametrize("name", [b"", b"/", b".", b"..", b"a/b", b"/a", b"a//", b"a\0"])
def test_a_name_that_cannot_be_one_is_refused(name: bytes) -> None:
    with pytest.raises(frames.BrokenError):
        frames.names((b"good", name))


def test_names_are_sorted_and_keep_bytes_that_are_no_text() -> None:
    assert frames.names((b"b/", b"a", b"\xff")) == ("a", "b/", "\udcff")


@pytest.mark.parametrize("fields", [(b"a",), (b"a", b"1", b"a", b"2"), (b"", b"1"), (b"k\n", b"1"), (b"k" * 65, b"1")])
def test_a_report_with_odd_keys_is_refused(fields: tuple[bytes, ...]) -> None:
    with pytest.raises(frames.BrokenError):
        frames.facts(fields)


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_fields_come_back_as_they_went(fields: list[bytes]) -> None:
    assert frames.unpack(frames.pack(fields)) == tuple(fields)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        fields = frames.unpack(data)
    except frames.BrokenError:
        return
    assert frames.pack(fields) == data


@given(st.integers(0, 255), st.lists(st.binary(max_size=40), max_size=6))
def test_any_answer_is_a_value_or_an_error_of_a_closed_set(kind: int, fields: list[bytes]) -> None:
    readers: list[Callable[[], object]] = [
        lambda: frames.ended(frames.expect((kind, tuple(fields)), frames.RESULT), 40),
        lambda: frames.names(frames.expect((kind, tuple(fields)), frames.NAMES)),
        lambda: frames.facts(frames.expect((kind, tuple(fields)), frames.POSTURE)),
    ]
    for reader in readers:
        try:
            reader()
        except (SandboxError, FileNotFoundError, IsADirectoryError, ValueError):
            continue
