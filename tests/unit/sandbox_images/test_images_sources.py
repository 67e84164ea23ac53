"""Private dependencies: the same lock wherever a wheel came from, no stranger's package, and no secret anywhere."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from support import images

from agent_pipeline.errors import AgentPipelineError, RejectedError, UsageError
from agent_pipeline.sandbox.images import requirements
from agent_pipeline.sandbox.images.sources import HIDDEN, Sources, sources

USER = ("reader", "p4ss w/rd%&\"'\\")
TOKEN = "tok-3n_of.a~test"
LIB, OLD = images.wheel("corplib", "2.0"), images.wheel("corplib", "1.0")
STRANGER = images.wheel("corplib", "99.0", files={"corplib/__init__.py": b"VALUE = 'evil'\n"})
SAME_VERSION = images.wheel("corplib", "2.0", files={"corplib/__init__.py": b"VALUE = 'evil'\n"})
OTHER = images.wheel("other", "1.0", requires=["corplib"])


def silent(_: str) -> None:
    """Progress that nobody looks at."""


@pytest.fixture(autouse=True)
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_TRUSTED_HOST", "127.0.0.1")  # pip caches only what comes from such, in plain HTTP


def private(tmp_path: Path, name: str, text: str) -> str:
    file = tmp_path / "secret-file"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    return f"{name}={file}"


def forms(user: str, password: str) -> list[bytes]:
    """Encodings in which a secret may turn up."""
    plain = [password, f"{user}:{password}"]
    coded = [quote(text, safe="") for text in plain]
    packed = [base64.b64encode(text.encode()).decode().rstrip("=") for text in plain]
    return [text.encode() for text in (*plain, *coded, *packed)] + [password.encode().hex().encode()]


def holding(folder: Path, words: list[bytes], but: Path) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file() and path != but]
    return [path for path in files if any(word in path.read_bytes() for word in words)]


def wheels(tmp_path: Path, *files: tuple[str, bytes]) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, data in files:
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with images.index(LIB, OTHER, user=USER) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        yield url


@pytest.mark.parametrize("way", ["netrc", "127.0.0.1", "pip.conf"])
def test_a_private_index_gives_the_same_lock_as_an_open_one_and_as_a_directory(
    way: str, tmp_path: Path, guarded: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = private(tmp_path, way, _text(guarded, way))
    file = Path(secret.partition("=")[2])
    if way == "pip.conf":
        monkeypatch.delenv("PIP_INDEX_URL")
    lines: list[str] = []
    given = sources((secret,), None)
    lock = requirements.resolve(["other"], lines.append, given)
    folder = tmp_path / "fetched"
    folder.mkdir()
    requirements.fetch(lock, folder, given)
    assert sorted(path.name for path in folder.iterdir()) == [LIB[0], OTHER[0]]

    words = forms(*USER)
    assert not any(word in lock for word in words)
    assert holding(tmp_path, words, but=file) == []
    said = capfd.readouterr()
    shown = "\n".join([*lines, repr(given), str(given), said.out, said.err, *map(str, os.environ.values())]).encode()
    assert not any(word in shown for word in words)

    with images.index(LIB, OTHER) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        assert requirements.resolve(["other"], silent) == lock
    with images.index() as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        own = sources((), wheels(tmp_path, LIB, OTHER))
        assert requirements.resolve(["other"], silent, own) == lock
        again = tmp_path / "again"
        again.mkdir()
        requirements.fetch(lock, again, own)
        assert (again / LIB[0]).read_bytes() == LIB[1]


def _text(url: str, way: str) -> str:
    login = USER[1].replace("\\", "\\\\").replace('"', '\\"')
    parts = urlsplit(url)
    whole = f"{parts.scheme}://{USER[0]}:{quote(USER[1], safe='')}@{parts.netloc}{parts.path}"
    return {
        "netrc": f'machine 127.0.0.1\n  login {USER[0]}\n  password "{login}"\n',
        "127.0.0.1": f"{USER[0]}:{USER[1]}\n",
        "pip.conf": f"[global]\nindex-url = {whole}\n",
    }[way]


def test_a_token_alone_is_shown_as_indexes_want_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with images.index(LIB, user=("__token__", TOKEN)) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        given = sources((private(tmp_path, "127.0.0.1", TOKEN),), None)
        assert b"corplib==2.0" in requirements.resolve(["corplib"], silent, given)


def test_a_wrong_secret_is_an_error_that_does_not_quote_it(
    tmp_path: Path, guarded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = ("reader", "wr0ng-pass")
    parts = urlsplit(guarded)
    config = f"[global]\nindex-url = {parts.scheme}://{':'.join(wrong)}@{parts.netloc}{parts.path}\n"
    for name, text in {"127.0.0.1": ":".join(wrong), "pip.conf": config}.items():
        if name == "pip.conf":
            monkeypatch.delenv("PIP_INDEX_URL")
        with pytest.raises(AgentPipelineError) as caught:
            requirements.resolve(["other"], silent, sources((private(tmp_path, name, text),), None))
        said = f"{caught.value.message} {caught.value.hint} {caught.value!r}".encode()
        assert not any(word in said for word in forms(*wrong))


def test_what_pip_says_is_scrubbed_of_every_form() -> None:
    with sources_of("127.0.0.1", f"{USER[0]}:{USER[1]}").given() as given:
        for word in (USER[1], quote(USER[1], safe=""), base64.b64encode(":".join(USER).encode()).decode()):
            assert given.scrubbed(f"pip said {word}!") == f"pip said {HIDDEN}!"
        assert USER[1] not in repr(given)


def sources_of(name: str, text: str) -> Sources:
    read, write = os.pipe()
    with os.fdopen(write, "wb") as file:
        file.write(text.encode())
    try:
        return sources((f"{name}=/dev/fd/{read}",), None)  # as the shell's <(...) gives it
    finally:
        os.close(read)


@pytest.mark.parametrize(("stranger", "wanted"), [(STRANGER, ["other"]), (SAME_VERSION, ["corplib==2.0"])])
def test_a_strangers_package_is_never_taken_for_ones_own(
    stranger: tuple[str, bytes], wanted: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dependency confusion: whoever registers the name at the public index does not get in."""
    own = sources((), wheels(tmp_path, LIB))
    with images.index(stranger, OTHER) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        lock = requirements.resolve(wanted, silent, own)
        pins = {pin.name: pin for pin in requirements.read(lock)}
        assert pins["corplib"].version == "2.0"
        assert pins["corplib"].hashes == (own.wheels[0].sha256,)


def test_of_several_of_ones_own_the_newest_and_no_strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = sources((), wheels(tmp_path, LIB, OLD))
    with images.index(STRANGER) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        assert b"corplib==2.0" in requirements.resolve(["corplib"], silent, own)
        assert b"corplib==1.0" in requirements.resolve(["corplib<2"], silent, own)
    between = images.wheel("corplib", "1.5")
    with images.index(between) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        with pytest.raises(RejectedError, match=r"corplib 1\.5 would come from an index"):
            requirements.resolve(["corplib>1,<2"], silent, own)


def test_a_wheel_that_is_not_the_locked_one_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with images.index(LIB) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        lock = requirements.resolve(["corplib"], silent)
    with images.index() as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        folder = tmp_path / "fetched"
        folder.mkdir()
        with pytest.raises(UsageError, match="corplib"):
            requirements.fetch(lock, folder, sources((), wheels(tmp_path, SAME_VERSION)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("netrc", "not the name of a secret"),
        ("=x", "not the name of a secret"),
        ("a b=x", "not the name of a secret"),
        ("netrc=/nonexistent", "cannot be read"),
    ],
)
def test_what_is_no_secret_is_said(given: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        sources((given,), None)


def test_a_secret_is_not_taken_from_a_file_that_others_read_nor_quoted(tmp_path: Path) -> None:
    given = private(tmp_path, "netrc", "machine x login y password hunter22 nonsense")
    with pytest.raises(UsageError, match="is no netrc file, line 1") as caught:
        sources((given,), None)
    assert "hunter22" not in repr(caught.value)
    (tmp_path / "secret-file").chmod(0o644)
    with pytest.raises(UsageError, match="others may read"):
        sources((given,), None)
    with pytest.raises(UsageError, match="given twice"):
        sources((private(tmp_path, "netrc", ""), private(tmp_path, "netrc", "")), None)
    for text in ("", "two\nlines", "nul\0"):
        with pytest.raises(UsageError):
            sources((private(tmp_path, "index.example", text),), None)


def test_a_directory_without_wheels_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no wheels in it"):
        sources((), tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        sources((), tmp_path / "absent")
    (tmp_path / "x.whl").write_bytes(b"")
    with pytest.raises(UsageError, match="not the name of a wheel"):
        sources((), tmp_path)
