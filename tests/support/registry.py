"""Registries on loopback: a simulated one that can be made to misbehave, and Debian's real one.

The simulator speaks what the OCI distribution specification (1.1) asks of a registry for push and pull, with Basic or
bearer authentication. A fault takes the place of one answer.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import http.server
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import bcrypt

from agent_pipeline.sandbox.contract import Image

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What is sent back. `length` is announced instead of the body's own; `endless` repeats the body."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    endless: bool = False


Fault = Callable[[Asked], Answer | None]


@dataclass
class Simulated:
    """What the registry has and was asked; `host` is where it is."""

    host: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    fault: Fault | None = None
    user: tuple[str, str] | None = None
    refresh: str | None = None
    bearer: bool = False
    tokens: list[str] = field(default_factory=list)
    token_lasts: int = 1000  # requests
    open_uploads: set[str] = field(default_factory=set)

    def add(self, image: Image) -> str:
        """Hold an image as the Docker engine would have pushed it, packed; return its reference by digest."""
        config = (image.folder / "config.json").read_bytes()
        plain = [
            (image.folder / "layers" / f"{name.removeprefix('sha256:')}.tar").read_bytes()
            for name in json.loads(config)["rootfs"]["diff_ids"]
        ]
        return self.hold(config, [gzip.compress(data, mtime=0) for data in plain])

    def hold(self, config: bytes, layers: list[bytes]) -> str:
        """Hold a manifest in the engine's form of these blobs; return its reference by digest."""
        document = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {"mediaType": _CONFIG, "size": len(config), "digest": digest(config)},
            "layers": [{"mediaType": _LAYER, "size": len(data), "digest": digest(data)} for data in layers],
        }
        for data in (config, *layers):
            self.blobs[digest(data)] = data
        return self.hold_manifest(json.dumps(document).encode())

    def hold_manifest(self, manifest: bytes, kind: str = DOCKER_MANIFEST) -> str:
        self.manifests[digest(manifest)] = (kind, manifest)
        return f"{self.host}/team/small@{digest(manifest)}"

    def count(self, method: str, part: str) -> int:
        return sum(asked.method == method and part in asked.path for asked in self.asked)

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        replaced = self.fault(asked) if self.fault is not None else None
        if replaced is not None:
            return replaced
        if asked.path == "/token":
            return self._token(asked)
        if not self._may(asked.headers.get("authorization", "")):
            way = f'Bearer realm="http://{self.host}/token",service="here"' if self.bearer else 'Basic realm="here"'
            return Answer(401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', {"WWW-Authenticate": way})
        return self._about(asked)

    def _about(self, asked: Asked) -> Answer:
        kind, _, name = asked.path.rpartition("/")
        if kind.endswith("/blobs/uploads"):
            return self._upload(asked, name)
        if kind.endswith("/blobs"):
            return Answer(200, self.blobs[name]) if name in self.blobs else Answer(404)
        return self._manifest(asked, name) if kind.endswith("/manifests") else Answer(404)

    def _upload(self, asked: Asked, name: str) -> Answer:
        if asked.method == "POST":
            place = f"/v2/team/small/blobs/uploads/{len(self.asked)}"
            self.open_uploads.add(place)
            return Answer(202, headers={"Location": f"{place}?state=x%2Fy"})
        self.open_uploads.discard(asked.path)
        if asked.method == "DELETE":
            return Answer(204)
        if digest(asked.body) != asked.query.get("digest"):
            return Answer(400, b'{"errors":[{"code":"DIGEST_INVALID"}]}')
        self.blobs[digest(asked.body)] = asked.body
        return Answer(201, headers={"Location": f"/v2/team/small/blobs/{name}"})

    def _manifest(self, asked: Asked, name: str) -> Answer:
        if asked.method == "PUT":
            named = json.loads(asked.body)
            if any(blob["digest"] not in self.blobs for blob in (named["config"], *named["layers"])):
                return Answer(400, b'{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}')
            self.manifests[name] = self.manifests[digest(asked.body)] = (asked.headers["content-type"], asked.body)
            return Answer(201)
        if name not in self.manifests:
            return Answer(404)
        kind, data = self.manifests[name]
        return Answer(200, data, {"Content-Type": kind})

    def _may(self, header: str) -> bool:
        if self.user is None and self.refresh is None:
            return True
        if self.bearer:
            token = header.removeprefix("Bearer ")
            return bool(self.tokens) and token == self.tokens[-1] and self._lasts()
        return header == basic(self.user)

    def _lasts(self) -> bool:
        since = [asked.path for asked in self.asked][::-1].index("/token")
        return since <= self.token_lasts

    def _token(self, asked: Asked) -> Answer:
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        good = form.get("refresh_token") == self.refresh if asked.method == "POST" else (
            asked.headers.get("authorization") == basic(self.user)
        )  # fmt: skip
        if not good:
            return Answer(401)
        self.tokens.append(f"token-{len(self.tokens)}-of-a-test")
        return Answer(200, json.dumps({"token": self.tokens[-1]}).encode())


def basic(user: tuple[str, str] | None) -> str:
    return "Basic " + base64.b64encode(":".join(user or ("", "")).encode()).decode()


@contextlib.contextmanager
def simulated() -> Iterator[Simulated]:
    """Serve a registry that is empty at first."""
    registry = Simulated()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", "0")))
            answer = registry.answer(Asked(self.command, parts.path, query, headers, body))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if not answer.endless:
                size = len(answer.body) if answer.length is None else answer.length
                self.send_header("Content-Length", str(size))
            else:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self._send(answer)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - http.server's names

        def _send(self, answer: Answer) -> None:
            with contextlib.suppress(OSError):
                self.wfile.write(answer.body)
                while answer.endless:
                    self.wfile.write(answer.body)
            if answer.endless or (answer.length or 0) > len(answer.body):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with _served(Handler) as host:
        registry.host = host
        yield registry


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that hang up."""


@contextlib.contextmanager
def _served(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    server = _Server(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def log_in(folder: Path, host: str, user: tuple[str, str]) -> Path:
    """Write what `docker login` writes into a directory for DOCKER_CONFIG; return it."""
    folder.mkdir(exist_ok=True)
    entry = {"auth": base64.b64encode(":".join(user).encode()).decode()}
    (folder / "config.json").write_text(json.dumps({"auths": {host: entry}}))
    return folder


@contextlib.contextmanager
def real(folder: Path, user: tuple[str, str] | None = None) -> Iterator[str]:
    """Run Debian's `docker-registry` on loopback with its data in `folder`; gives host and port."""
    program = shutil.which("docker-registry")
    assert program is not None, "docker-registry is not installed: `make setup` installs it"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    settings: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "debug", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": host, "secret": "of a test"},
    }
    if user is not None:
        hashed = bcrypt.hashpw(user[1].encode(), bcrypt.gensalt(4)).decode()
        (folder / "htpasswd").write_text(f"{user[0]}:{hashed}\n")
        settings["auth"] = {"htpasswd": {"realm": "here", "path": str(folder / "htpasswd")}}
    (folder / "config.yml").write_text(json.dumps(settings))  # JSON is YAML
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(folder / "config.yml")], stdout=log, stderr=log)
        try:
            _wait(host, process, folder / "log.txt")
            yield host
        finally:
            process.terminate()
            process.wait(timeout=10)


def _wait(host: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"http://{host}/v2/", timeout=1):
                return
        except urllib.error.HTTPError:
            return  # it asks who we are
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"docker-registry does not start:\n{log.read_text()[-2000:]}")
