"""A registry of our own on loopback: one image, read only (OCI distribution specification, the pull part)."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator

from agent_pipeline.sandbox.contract import Image

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _blobs(image: Image) -> tuple[bytes, dict[str, bytes]]:
    """Return the manifest, and everything that it names by digest."""
    config = (image.folder / "config.json").read_bytes()
    layers = [
        gzip.compress((image.folder / "layers" / f"{name.removeprefix('sha256:')}.tar").read_bytes(), mtime=0)
        for name in json.loads(config)["rootfs"]["diff_ids"]
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": {"mediaType": _CONFIG, "size": len(config), "digest": _digest(config)},
        "layers": [{"mediaType": _LAYER, "size": len(data), "digest": _digest(data)} for data in layers],
    }
    manifest = json.dumps(document).encode()
    return manifest, {_digest(data): data for data in (config, *layers)}


@contextlib.contextmanager
def serving(image: Image) -> Iterator[str]:
    """Serve the image; gives its reference by digest."""
    manifest, blobs = _blobs(image)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.rsplit("/", 1)[-1]
            if self.path == "/v2/":
                self._answer(b"{}", "application/json")
            elif "/manifests/" in self.path and name == _digest(manifest):
                self._answer(manifest, _MANIFEST)
            elif "/blobs/" in self.path and name in blobs:
                self._answer(blobs[name], "application/octet-stream")
            else:
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def do_HEAD(self) -> None:
            self.do_GET()

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", _digest(body))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}/agent-pipeline/small@{_digest(manifest)}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
