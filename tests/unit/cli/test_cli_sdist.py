"""Fetching and unpacking a source distribution, against an index on the loopback interface."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.cli import package_index, sdist
from agent_pipeline.errors import AgentPipelineError, PathError, RejectedError, UnavailableError, UsageError

FILE = "example-1.0.tar.gz"


def archive(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


GOOD = archive([(member("example-1.0/pyproject.toml"), b"[project]\n"), (member("example-1.0/src/a.py"), b"A = 1\n")])
DIGEST = hashlib.sha256(GOOD).hexdigest()


class Index(http.server.ThreadingHTTPServer):
    """A package index: answers by path, counts what is asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, tuple[int, str, bytes]] = {}
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def put(self, path: str, body: bytes, kind: str = "application/octet-stream", code: int = 200) -> None:
        self.answers[path] = (code, kind, body)

    def put_html(self, path: str, link: str) -> None:
        self.put(path, f'<html><a href="{link}">{FILE}</a></html>'.encode(), "text/html")


class Handler(http.server.BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:  # the server's own naming
        self.server.asked.append(self.path)
        code, kind, body = self.server.answers.get(self.path, (404, "text/plain", b"not here"))
        self.send_response(code)
        if code in {301, 302}:
            self.send_header("Location", body.decode())
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_CERT", "PIP_PROXY", "PIP_TRUSTED_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Index() as server:
        monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(folder: Path, sha256: str = DIGEST) -> Path:
    return sdist.fetch("Example", FILE, sha256, folder)


def test_fetches_from_an_index_that_speaks_json(index: Index, tmp_path: Path) -> None:
    page: dict[str, object] = {"meta": {"api-version": "1.1"}, "name": "example"}
    page["files"] = [{"filename": FILE, "url": f"../../files/{FILE}", "hashes": {"sha256": DIGEST}, "size": len(GOOD)}]
    index.put("/simple/example/", json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json")
    index.put(f"/files/{FILE}", GOOD)
    path = fetch(tmp_path / "new")
    assert path == tmp_path / "new" / FILE
    assert path.read_bytes() == GOOD
    assert index.asked == ["/simple/example/", f"/files/{FILE}"]


def test_fetches_from_an_index_that_speaks_html(index: Index, tmp_path: Path) -> None:
    index.put_html("/simple/example/", f"/files/{FILE}#sha256={DIGEST}")
    index.put(f"/files/{FILE}", GOOD)
    assert fetch(tmp_path).read_bytes() == GOOD


def test_what_is_there_already_is_not_fetched_again(index: Index, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(GOOD)
    assert fetch(tmp_path) == tmp_path / FILE
    assert index.asked == []


def test_a_damaged_copy_is_fetched_again(index: Index, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(GOOD[:-1])
    index.put_html("/simple/example/", f"/files/{FILE}")
    index.put(f"/files/{FILE}", GOOD)
    assert fetch(tmp_path).read_bytes() == GOOD


def test_other_bytes_are_rejected_and_not_kept(index: Index, tmp_path: Path) -> None:
    index.put_html("/simple/example/", f"/files/{FILE}")
    index.put(f"/files/{FILE}", GOOD + b"more")
    with pytest.raises(RejectedError, match=DIGEST):
        fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_names_another_digest_is_believed_without_a_download(index: Index, tmp_path: Path) -> None:
    index.put_html("/simple/example/", f"/files/{FILE}#sha256={'0' * 64}")
    with pytest.raises(RejectedError, match="said to be 0000"):
        fetch(tmp_path)
    assert index.asked == ["/simple/example/"]


def test_nothing_there_is_could_not_tell(index: Index, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="404") as caught:
        fetch(tmp_path)
    assert caught.value.exit_code == 3
    assert index.asked == ["/simple/example/"]


def test_an_index_that_is_down_is_could_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: Index) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:1/simple")
    with pytest.raises(UnavailableError) as caught:
        fetch(tmp_path)
    assert "secret" not in caught.value.message
    assert "http://127.0.0.1:1/simple/example/" in caught.value.message
    assert index.asked == []


def test_the_extra_index_is_asked_after_the_first(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{index.url}/extra/")
    index.put_html("/extra/example/", f"../{FILE}")
    index.put(f"/extra/{FILE}", GOOD)
    assert fetch(tmp_path).read_bytes() == GOOD
    assert index.asked == ["/simple/example/", "/extra/example/", f"/extra/{FILE}"]


def test_a_local_index_and_a_local_folder_are_read(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / FILE).write_bytes(GOOD)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    assert fetch(tmp_path / "one").read_bytes() == GOOD
    page = tmp_path / "simple" / "example"
    page.mkdir(parents=True)
    (page / "index.html").write_text(f'<a href="../../links/{FILE}#sha256={DIGEST}">{FILE}</a>')
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    assert fetch(tmp_path / "two").read_bytes() == GOOD
    assert index.asked == []


def test_a_page_of_an_index_does_not_name_files_of_this_machine(index: Index, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(GOOD)
    index.put_html("/simple/example/", (tmp_path / FILE).as_uri())
    with pytest.raises(UnavailableError, match="not listed"):
        fetch(tmp_path / "new")


def test_redirects_end(index: Index, tmp_path: Path) -> None:
    index.put("/simple/example/", b"/simple/example/", code=302)
    with pytest.raises(UnavailableError, match="TooManyRedirects"):
        fetch(tmp_path)
    assert len(index.asked) == 6


def test_a_file_that_is_too_large_is_not_kept(index: Index, tmp_path: Path) -> None:
    index.put_html("/simple/example/", f"/files/{FILE}")
    index.put(f"/files/{FILE}", bytes(sdist.MAX_BYTES + 1))
    with pytest.raises(UnavailableError, match="more than"):
        fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_name_with_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        sdist.fetch("example", f"../{FILE}", DIGEST, tmp_path)


@given(st.binary(max_size=300) | st.text(alphabet='<a href="#&;:/[]=>\\x00%', max_size=80).map(str.encode))
def test_any_page_is_a_list_or_could_not_tell(body: bytes) -> None:
    for read in (package_index._from_html, package_index._from_json):
        try:
            found = read("http://127.0.0.1/simple/example/", body)
        except UnavailableError:
            continue
        assert all(isinstance(row.url, str) for row in found)


def save(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / FILE
    path.write_bytes(data)
    return path


def test_unpacks_files_and_directories(tmp_path: Path) -> None:
    top = sdist.unpack(save(tmp_path, GOOD), tmp_path / "new" / "out")
    assert top == tmp_path / "new" / "out"
    assert (top / "src" / "a.py").read_text() == "A = 1\n"
    assert list((tmp_path / "new").iterdir()) == [top]
    with pytest.raises(UsageError, match="exists already"):
        sdist.unpack(tmp_path / FILE, top)


BAD: dict[str, tarfile.TarInfo] = {
    "a parent": member("example-1.0/../../escape"),
    "an absolute path": member("/escape"),
    "a neighbour": member("other/escape"),
    "a symlink": member("example-1.0/link", tarfile.SYMTYPE, "/etc/passwd"),
    "a symlink inside": member("example-1.0/link", tarfile.SYMTYPE, "pyproject.toml"),
    "a hard link": member("example-1.0/link", tarfile.LNKTYPE, "../../escape"),
    "a fifo": member("example-1.0/fifo", tarfile.FIFOTYPE),
    "a device": member("example-1.0/zero", tarfile.CHRTYPE),
    "the top as a file": member("example-1.0"),
}


@pytest.mark.parametrize("kind", list(BAD))
def test_anything_else_is_refused_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path, archive([(BAD[kind], b"")]))
    with pytest.raises(PathError):
        sdist.unpack(path, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [path]


def test_a_bad_member_after_good_ones_leaves_nothing(tmp_path: Path) -> None:
    path = save(tmp_path, archive([(member("example-1.0/a"), b"a"), (BAD["a symlink"], b"")]))
    with pytest.raises(PathError, match="link"):
        sdist.unpack(path, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [path]


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RejectedError, match="more than"):
        sdist.unpack(save(tmp_path, gzip.compress(bytes(sdist.MAX_UNPACKED + 1), 1)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


CUTS: list[Callable[[bytes], bytes]] = [
    lambda data: data[: len(data) // 2],
    lambda _: b"",
    lambda _: b"PK\x03\x04",
    lambda _: gzip.compress(b"no tar"),
    lambda _: gzip.compress(b""),
]


@pytest.mark.parametrize("cut", CUTS)
def test_what_is_no_archive_is_rejected(tmp_path: Path, cut: Callable[[bytes], bytes]) -> None:
    with pytest.raises(RejectedError):
        sdist.unpack(save(tmp_path, cut(GOOD)), tmp_path / "out")


@given(st.binary(max_size=600), st.integers(0, 1500))
def test_any_bytes_end_in_an_error_of_ours_or_a_directory(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int
) -> None:
    tmp_path = tmp_path_factory.mktemp("noise")
    plain = bytearray(gzip.decompress(GOOD))
    plain[at : at + len(noise)] = noise
    try:
        top = sdist.unpack(save(tmp_path, gzip.compress(bytes(plain), 1)), tmp_path / "out")
    except AgentPipelineError:
        assert [entry.name for entry in tmp_path.iterdir()] == [FILE]
    else:
        assert top.is_dir()


def test_no_file_of_the_current_directory_passes_for_pip(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    assert package_index.configured().indexes == (f"{index.url}/simple",)
    assert not (tmp_path / "ran").exists()
