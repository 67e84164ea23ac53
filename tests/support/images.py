"""Small images, wheels and a package index of our own, for tests that need no Debian and no network."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import io
import threading
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from agent_pipeline.config import Config
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images import identity, layers, recipe
from agent_pipeline.sandbox.images.layers import Entry
from agent_pipeline.sandbox.images.store import Store


def config(folder: Path) -> Config:
    """A configuration whose every directory lies below `folder`."""
    return Config(folder / "config", folder / "cache", folder / "state", None, None, None, None)


def add(store: Store, *contents: Iterable[Entry], name: str = "small", base: str | None = None) -> Image:
    """Add an image with one layer per collection of entries."""
    with store.staging() as folder:
        sources = {}
        for number, entries in enumerate(contents):
            path = folder / f"{number}.tar"
            with path.open("wb") as file:
                sources[layers.write(entries, file)] = path
        facts = identity.Facts(name, tuple(sources), {"tiny": "1.0"}, base, None)
        return store.add(identity.configuration(recipe.load("python").recipe, facts), sources)


def wheel(
    name: str,
    version: str = "1.0",
    requires: Iterable[str] = (),
    files: Mapping[str, bytes] | None = None,
    entry_points: str = "",
) -> tuple[str, bytes]:
    """A wheel's file name and bytes; always the same for the same arguments."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    content = {
        **(files if files is not None else {f"{name}/__init__.py": b"VALUE = 1\n"}),
        f"{info}/METADATA": (metadata + "".join(f"Requires-Dist: {text}\n" for text in requires)).encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if entry_points:
        content[f"{info}/entry_points.txt"] = f"[console_scripts]\n{entry_points}\n".encode()
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in content.items())
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    return f"{name}-{version}-py3-none-any.whl", _zip(content)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _zip(content: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path, data in content.items():
            info = zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0))
            info.external_attr = (0o100755 if "/scripts/" in path else 0o100644) << 16
            archive.writestr(info, data)
    return file.getvalue()


@contextlib.contextmanager
def index(*files: tuple[str, bytes], user: tuple[str, str] | None = None) -> Iterator[str]:
    """A simple index (PEP 503) on loopback with these files; gives its URL.

    With `user` it wants that name and password, and tempts clients to keep what they sent it.
    """
    by_name = dict(files)
    wanted = "Basic " + base64.b64encode(":".join(user or ()).encode()).decode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = self.path.strip("/").split("/")
            if user is not None and self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="here"')
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif parts[0] == "files" and parts[-1] in by_name:
                self._answer(by_name[parts[-1]], "application/octet-stream")
            elif parts[0] == "simple" and (links := self._links(parts[-1])):
                self._answer(f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), "text/html")
            else:
                self.send_error(404)

        def _links(self, project: str) -> str:
            names = [name for name in by_name if name.split("-")[0].replace("_", "-").lower() == project]
            digests = {name: hashlib.sha256(by_name[name]).hexdigest() for name in names}
            return "".join(f'<a href="/files/{name}#sha256={digests[name]}">{name}</a>' for name in names)

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if user is not None:
                self.send_header("Vary", "Authorization")
                self.send_header("Cache-Control", "max-age=3600")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
