"""Where the user's own pip looks for packages, and what is listed there. Nothing that is found is ever run.

pip itself is asked for its configuration (files and environment, as pip merges them); the places are then read over the
simple repository API: PEP 691 (JSON) where the index speaks it, else PEP 503 (HTML); local folders as pip reads them.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit, urlunsplit

from agent_pipeline import process
from agent_pipeline.documents import strict
from agent_pipeline.errors import SchemaError, UnavailableError

if TYPE_CHECKING:
    import requests

PUBLIC_INDEX: Final = "https://pypi.org/simple/"  # what pip asks when nobody configured anything
PAGE_LIMIT: Final = 32 << 20
SECONDS: Final = 30.0  # for a connection, and between two reads
_ACCEPT: Final = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_JSON: Final = "application/vnd.pypi.simple.v1+json"
_TRUE: Final = frozenset(["1", "true", "yes", "on", "y", "t"])


@dataclass(frozen=True, slots=True)
class Sources:
    """`folders` and `pages` list files; `indexes` have a page for each project. All in the order they are asked."""

    folders: tuple[Path, ...]
    pages: tuple[str, ...]
    indexes: tuple[str, ...]
    cert: str | None = None
    proxy: str | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A file that a page lists, and where it is; `sha256` when the page says so."""

    name: str
    url: str
    sha256: str | None


def configured() -> Sources:
    """Return where pip looks, as its configuration says. Raises `UnavailableError` when pip does not answer."""
    names = [name for name in os.environ if name.startswith("PIP_")]
    env = process.inherited("PATH", "HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", *names)
    asked = process.run([sys.executable, "-P", "-m", "pip", "config", "list"], env=env)
    if not asked.ok:
        raise UnavailableError(
            f"pip does not say where it looks: {asked.explain()}", hint="run `agent-pipeline doctor`"
        )
    settings = _merged(asked.stdout.decode("utf-8", "replace"))
    return _sources(settings)


def _merged(text: str) -> dict[str, str]:
    """Read lines like `global.index-url='...'`: the environment beats `download`, which beats `global`, as in pip."""
    ranks = {"global": 0, "download": 1, ":env:": 2}
    found: dict[str, tuple[int, str]] = {}
    for line in text.splitlines():
        match = re.fullmatch(r"(global|download|:env:)\.([a-z-]+)=(['\"].*)", line)
        if match and (match[2] not in found or found[match[2]][0] <= ranks[match[1]]):
            found[match[2]] = (ranks[match[1]], str(ast.literal_eval(match[3])))
    return {name: value for name, (_, value) in found.items()}


def _sources(settings: dict[str, str]) -> Sources:
    links = settings.get("find-links", "").split()
    folders = [folder for link in links if (folder := _local(link)) is not None]
    indexes: list[str] = []
    if settings.get("no-index", "").lower() not in _TRUE:
        indexes = [settings.get("index-url", PUBLIC_INDEX), *settings.get("extra-index-url", "").split()]
    return Sources(
        tuple(folders),
        tuple(link for link in links if _local(link) is None),
        tuple(indexes),
        settings.get("cert"),
        settings.get("proxy"),
    )


def _local(link: str) -> Path | None:
    """Return the path of a local link, or None for one that is fetched."""
    parts = urlsplit(link)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme in {"http", "https"} else Path(link)


def without_secrets(url: str) -> str:
    """Return `url` without user, password, query and fragment, to be shown."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


@contextmanager
def session(sources: Sources) -> Iterator[requests.Session]:
    """Open a session with pip's certificate and proxy, few redirects, and retries for a busy index."""
    import requests  # noqa: PLC0415 - 60 ms that `--help` does not need
    from requests.adapters import HTTPAdapter  # noqa: PLC0415 - the same
    from urllib3 import Retry  # noqa: PLC0415 - the same

    retry = Retry(total=3, backoff_factor=0.5, status_forcelist=(429, 502, 503), respect_retry_after_header=False)
    with requests.Session() as opened:
        opened.max_redirects = 5
        opened.mount("https://", HTTPAdapter(max_retries=retry))
        opened.mount("http://", HTTPAdapter(max_retries=retry))
        if sources.cert:
            opened.verify = sources.cert
        if sources.proxy:
            opened.proxies = {"http": sources.proxy, "https": sources.proxy}
        yield opened


def read(opened: requests.Session, url: str, limit: int, *, accept: str = "*/*") -> tuple[str, str, bytes]:
    """Return (final address, content type, body) of `url`, an `http`, `https` or `file` address.

    Raises `UnavailableError`, also for a body of more than `limit` bytes.
    """
    if (local := _local(url)) is not None:
        return _read_local(local, url, limit)
    import requests  # noqa: PLC0415 - imported by `session` already

    try:
        with opened.get(url, headers={"Accept": accept}, stream=True, timeout=SECONDS) as answer:
            if answer.status_code != HTTPStatus.OK:
                raise UnavailableError(f"{without_secrets(url)}: answered {answer.status_code}")
            body = bytearray()
            for chunk in answer.iter_content(65536):
                body += chunk
                if len(body) > limit:
                    raise UnavailableError(f"{without_secrets(url)}: more than {limit} bytes")
            return answer.url, answer.headers.get("Content-Type", ""), bytes(body)
    except (requests.RequestException, ValueError) as error:
        raise UnavailableError(f"{without_secrets(url)}: {type(error).__name__}") from error


def _read_local(path: Path, url: str, limit: int) -> tuple[str, str, bytes]:
    page = path / "index.html" if path.is_dir() else path
    try:
        if page.stat().st_size > limit:
            raise UnavailableError(f"{page}: more than {limit} bytes")
        return url, "text/html", page.read_bytes()
    except OSError as error:
        raise UnavailableError(f"{page}: {error.strerror}") from error


def listed(opened: requests.Session, index: str, project: str) -> tuple[Listed, ...]:
    """Return the files of `project` at `index`. Raises `UnavailableError`."""
    normal = re.sub(r"[-_.]+", "-", project).lower()  # PEP 503
    return page(opened, f"{index.rstrip('/')}/{quote(normal)}/")


def page(opened: requests.Session, url: str) -> tuple[Listed, ...]:
    """Return the files that the page at `url` lists. Raises `UnavailableError`."""
    base, kind, body = read(opened, url, PAGE_LIMIT, accept=_ACCEPT)
    files = _from_json(base, body) if kind.partition(";")[0].strip() == _JSON else _from_html(base, body)
    remote = _local(base) is None  # a page from elsewhere does not name files of this machine
    return tuple(file for file in files if not remote or _local(file.url) is None)


def _from_json(base: str, body: bytes) -> tuple[Listed, ...]:
    """Read PEP 691."""
    try:
        files = strict.parse(body, what="the index's page", max_bytes=PAGE_LIMIT)["files"]
        rows = [(str(row["filename"]), str(row["url"]), row.get("hashes", {}).get("sha256")) for row in files]
        return tuple(Listed(name, urljoin(base, link), digest) for name, link, digest in rows)
    except (SchemaError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise UnavailableError(f"{without_secrets(base)}: not the form of PEP 691: {error}") from error


class _Links(HTMLParser):
    """Collects what the page links to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the address of an anchor."""
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _from_html(base: str, body: bytes) -> tuple[Listed, ...]:
    """Read PEP 503: the file's name is the last part of its address, its digest the fragment."""
    links = _Links()
    links.feed(body.decode("utf-8", "replace"))
    found = []
    for link in links.found:
        try:
            url, fragment = urldefrag(urljoin(base, link))
            name = unquote(urlsplit(url).path).rpartition("/")[2]
        except ValueError:  # a broken address on the page is not the file that is looked for
            continue
        digest = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else None
        found.append(Listed(name, url, digest))
    return tuple(found)
