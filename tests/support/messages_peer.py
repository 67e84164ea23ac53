"""A peer that speaks the Messages API: a real server on loopback TCP or a Unix socket, JSON and server-sent events.

It answers with what a test scripted, in order, keeps a journal of every request, and refuses requests that the real API
would refuse. Faults are scripted like answers. The SDK reaches it by its base URL; nothing of the SDK is patched.
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from support.messages_schema import problems

KEY = "peer-key-0123456789"
MODEL = "claude-sonnet-5-5"
VERSION = "2026-10-21"


@dataclass(frozen=True)
class Reply:
    """One answer. `stop_reason` None is tool_use when there is a call, else end_turn; `model` None is the one asked."""

    content: Sequence[dict[str, Any]]
    stop_reason: str | None = None
    usage: dict[str, int] = field(default_factory=lambda: {"input_tokens": 100, "output_tokens": 10})
    model: str | None = None
    stop_details: dict[str, Any] | None = None
    pause: float = 0.0  # seconds before each event


@dataclass(frozen=True)
class Status:
    """An HTTP error."""

    code: int
    kind: str = "api_error"
    message: str = "scripted"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cut:
    """An answer whose connection breaks after so many events; `clean` ends the body properly, without its end."""

    reply: Reply
    events: int
    clean: bool = False


@dataclass(frozen=True)
class Raw:
    """Bytes sent as the body of an event stream, whatever they are."""

    body: bytes


@dataclass(frozen=True)
class Pings:
    """An event stream that never says anything."""

    seconds: float
    every: float = 0.05


@dataclass(frozen=True)
class Hangup:
    """The connection closes without a word."""


Scripted = Reply | Status | Cut | Raw | Pings | Hangup
Script = Callable[[dict[str, Any]], Scripted]


@dataclass(frozen=True)
class Entry:
    """One request as it came, and what was wrong with it."""

    path: str
    headers: dict[str, str]
    body: Any
    problems: tuple[str, ...]


class MessagesPeer:
    """The server. `script` is a list of answers, or a function from the request's body to an answer."""

    def __init__(self, script: Iterable[Scripted] | Script, *, uds: Path | None = None) -> None:
        self.journal: list[Entry] = []
        self._script = script if callable(script) else _in_order(iter(script))
        self._count, self._lock = 0, threading.Lock()
        handler = type("Handler", (_Handler,), {"peer": self})
        self._server: ThreadingHTTPServer = (
            _Tcp(("127.0.0.1", 0), handler) if uds is None else _Unix(str(uds), handler)  # type: ignore[arg-type]
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def next(self, body: dict[str, Any]) -> tuple[int, Scripted]:
        with self._lock:
            self._count += 1
            return self._count, self._script(body)


def _in_order(replies: Iterator[Scripted]) -> Script:
    def script(body: dict[str, Any]) -> Scripted:
        del body
        return next(replies, Status(500, message="the script has no more answers", headers={"x-should-retry": "false"}))

    return script


class _Tcp(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves early is no error here."""


class _Unix(_Tcp):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", 0

    def get_request(self) -> tuple[Any, Any]:
        connection, _ = self.socket.accept()
        return connection, ("localhost", 0)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    peer: MessagesPeer

    def log_message(self, *args: object) -> None:
        """Keep quiet."""

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        headers = {name.lower(): value for name, value in self.headers.items()}
        found = problems(body)
        self.peer.journal.append(Entry(self.path, headers, body, tuple(found)))
        refused = self._refused(headers, found)
        if refused is not None:
            self._status(refused)
            return
        number, answer = self.peer.next(body)
        self._answer(number, answer, body)

    def _refused(self, headers: dict[str, str], found: list[str]) -> Status | None:
        if self.path != "/v1/messages":
            return Status(404, "not_found_error", f"no such path: {self.path}")
        if KEY not in (headers.get("authorization", "").removeprefix("Bearer "), headers.get("x-api-key")):
            return Status(401, "authentication_error", "invalid key")
        if headers.get("anthropic-version") != VERSION:
            return Status(400, "invalid_request_error", "anthropic-version")
        return Status(400, "invalid_request_error", "; ".join(found)) if found else None

    def _answer(self, number: int, answer: Scripted, body: dict[str, Any]) -> None:
        if isinstance(answer, Status):
            self._status(answer)
        elif isinstance(answer, Hangup):
            self._hang_up()
        elif isinstance(answer, Raw):
            self._open(number)
            if answer.body:
                self._chunk(answer.body)
            self._chunk(b"")
        elif isinstance(answer, Pings):
            self._open(number)
            until = time.monotonic() + answer.seconds
            while time.monotonic() < until:
                self._chunk(b'event: ping\ndata: {"type": "ping"}\n\n')
                time.sleep(answer.every)
            self._chunk(b"")
        else:
            self._message(number, answer, body)

    def _message(self, number: int, answer: Reply | Cut, body: dict[str, Any]) -> None:
        reply = answer.reply if isinstance(answer, Cut) else answer
        message = whole(reply, number, body["model"])
        if not body.get("stream"):
            self._json(200, message, {"request-id": f"req_{number:04}"})
            return
        self._open(number)
        for sent, event in enumerate(events(message)):
            if isinstance(answer, Cut) and sent == answer.events:
                if not answer.clean:
                    self._hang_up()
                    return
                break
            time.sleep(reply.pause)
            self._chunk(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        self._chunk(b"")

    def _status(self, status: Status) -> None:
        error = {"type": "error", "error": {"type": status.kind, "message": status.message}, "request_id": "req_error"}
        self._json(status.code, error, {"request-id": "req_error"} | status.headers)

    def _json(self, code: int, value: Any, headers: dict[str, str]) -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        for name, text in ({"content-type": "application/json", "content-length": str(len(data))} | headers).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def _open(self, number: int) -> None:
        self.send_response(200)
        for name, text in (
            ("content-type", "text/event-stream"),
            ("transfer-encoding", "chunked"),
            ("request-id", f"req_{number:04}"),
        ):
            self.send_header(name, text)
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def whole(reply: Reply, number: int, model: str) -> dict[str, Any]:
    """Return the answer as one JSON message."""
    calls = any(block["type"] == "tool_use" for block in reply.content)
    return {
        "id": f"msg_{number:04}",
        "type": "message",
        "role": "assistant",
        "model": reply.model or model,
        "content": list(reply.content),
        "stop_reason": reply.stop_reason or ("tool_use" if calls else "end_turn"),
        "stop_sequence": None,
        "stop_details": reply.stop_details,
        "usage": {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0} | reply.usage,
    }


def events(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of a streamed message, tool inputs and texts in pieces."""
    begun = message | {"content": [], "stop_reason": None, "stop_details": None}
    yield {"type": "message_start", "message": begun | {"usage": message["usage"] | {"output_tokens": 1}}}
    for index, block in enumerate(message["content"]):
        yield from _block(index, block)
    delta = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": message["usage"]["output_tokens"]}}
    yield {"type": "message_stop"}


def _block(index: int, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    empty, deltas = block, []
    if block["type"] == "text":
        empty = block | {"text": ""}
        deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(block["text"])]
    elif block["type"] == "tool_use":
        raw = block["input"] if isinstance(block["input"], str) else json.dumps(block["input"])
        empty = block | {"input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *_pieces(raw))]
    elif block["type"] == "thinking":
        empty = block | {"thinking": "", "signature": ""}
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in _pieces(block["thinking"])]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    yield {"type": "content_block_start", "index": index, "content_block": empty}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


def _pieces(text: str, size: int = 40) -> Iterator[str]:
    for start in range(0, len(text), size):
        yield text[start : start + size]
