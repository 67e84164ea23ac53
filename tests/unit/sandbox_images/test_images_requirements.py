"""The requirements lock, and which requirements a project states."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import images

from agent_pipeline.errors import RejectedError, UnavailableError, UsageError
from agent_pipeline.sandbox.images import poetry, requirements, target
from agent_pipeline.sandbox.images.requirements import Pinned, discover

HASH = "a" * 64
NOTHING: list[str] = []


def silent(_: str) -> None:
    """Progress that nobody looks at."""


@pytest.fixture
def no_pip_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")


def test_a_lock_is_read_as_it_was_written() -> None:
    pins = (Pinned("a", "1.0", (HASH,)), Pinned("b-c", "2.0.post1+local", (HASH, "b" * 64)))
    assert requirements.read(requirements.write(pins)) == pins


def test_continued_lines_are_read_too() -> None:
    assert requirements.read(f"# x\n\na==1 \\\n    --hash=sha256:{HASH}\n".encode()) == (Pinned("a", "1", (HASH,)),)


@pytest.mark.parametrize(
    "line",
    [
        "a==1",
        "a>=1 --hash=sha256:" + HASH,
        "a==1 --hash=md5:" + HASH,
        "a==1 --hash=sha256:" + "A" * 64,
        "a==1 --hash=sha256:short",
        f"--index-url https://example.org/ --hash=sha256:{HASH}",
        "-r other.txt",
        "-e .",
        f"a @ https://example.org/a.whl --hash=sha256:{HASH}",
        f"a==1; python_version>'3' --hash=sha256:{HASH}",
        f"a[x]==1 --hash=sha256:{HASH}",
        f"a==1 --hash=sha256:{HASH} --global-option=x",
        f"a==1 --hash=sha256:{HASH}\na==2 --hash=sha256:{HASH}",
        f"a==1 --hash=sha256:{HASH}\r\nb==1",
        f"A==1 --hash=sha256:{HASH}",
        f"a==${{HOME}} --hash=sha256:{HASH}",
        "ä==1",
    ],
)
def test_nothing_else_is_a_line_of_a_lock(line: str) -> None:
    with pytest.raises(RejectedError):
        requirements.read(line.encode())


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_lock_or_refused(data: bytes) -> None:
    try:
        pins = requirements.read(data)
    except RejectedError:
        return
    assert requirements.read(requirements.write(pins)) == pins


def test_pyproject_is_read_with_its_groups_for_testing() -> None:
    text = b"""
[build-system]
requires = ["hatchling", "hatch-vcs"]
[project]
name = "My.Project"
dependencies = ["click>=8; python_version < '3.12'", "attrs"]
[project.optional-dependencies]
test = ["pytest-cov", "my-project[extra]"]
extra = ["requests"]
docs = ["sphinx"]
[dependency-groups]
dev = ["ruff", {include-group = "lint"}]
lint = ["mypy"]
"""
    assert discover({"pyproject.toml": text}) == (
        "attrs",
        'click>=8; python_version < "3.12"',
        "editables",
        "hatch-vcs",
        "hatchling",
        "mypy",
        "pytest",
        "pytest-cov",
        "requests",
        "ruff",
    )


def test_setup_cfg_and_setup_py_are_read() -> None:
    cfg = b"""
[metadata]
name = own
[options]
install_requires =
    six>=1
    # no
[options.extras_require]
tests =
    own
    nose2
"""
    script = b"""
from setuptools import setup
setup(name="own", install_requires=["idna"], extras_require={"dev": ["tox"]}, version=computed())
"""
    assert discover({"setup.cfg": cfg, "setup.py": script}) == ("idna", "nose2", "pytest", "six>=1", "tox")


def test_a_setup_py_that_computes_or_does_not_parse_states_nothing() -> None:
    assert discover({"setup.py": b"setup(install_requires=open('x').read())"}) == ("pytest",)
    assert discover({"setup.py": b"print 'python 2'"}) == ("pytest",)


def test_requirements_files_are_followed_among_the_given_files() -> None:
    files = {
        "requirements.txt": b"--index-url https://a.example/\na==1 --hash=sha256:00 \\\n  --hash=sha256:11\nb # why\n",
        "requirements-test.txt": b"-r requirements/base.txt\n-e .\n.[test]\npytest>=7\n",
        "requirements/base.txt": b"c ; sys_platform == 'linux'\n",
        "requirements-docs.txt": b"sphinx\n",
    }
    assert discover(files) == ("a==1", "b", 'c; sys_platform == "linux"', "pytest>=7")


def test_every_file_that_is_read_is_a_candidate() -> None:
    wanted = (
        "pyproject.toml",
        "setup.py",
        "setup.cfg",
        "requirements.txt",
        "requirements/base.txt",
        "dev-requirements.in",
    )
    assert all(requirements.candidate(path) for path in wanted)
    assert not any(requirements.candidate(path) for path in ("src/x.py", "a/b/requirements.txt", "docs/conf.py"))


def test_dynamic_requirements_of_setuptools_are_followed() -> None:
    text = b"[project]\nname='x'\n[tool.setuptools.dynamic]\ndependencies = {file = ['deps.txt']}\n"
    assert discover({"pyproject.toml": text, "deps.txt": b"idna\n"}) == ("idna", "pytest")


def test_poetrys_own_tables_are_read() -> None:
    text = b"""
[tool.poetry]
name = "own"
[tool.poetry.dependencies]
python = "^3.8"
requests = "^2.13.0"
tomli = {version = ">=1.1.0,<3", python = "<3.11"}
fast = {version = "*", optional = true}
slow = {version = "1.0", optional = true, extras = ["x", "y"]}
many = [
  {version = "~1.2", markers = "sys_platform == 'linux'"},
  {version = "^0.2.3", markers = "sys_platform == 'win32'"},
]
[tool.poetry.extras]
test = ["slow"]
[tool.poetry.group.dev.dependencies]
pytest = "^7 || ^8"
[build-system]
requires = ["poetry-core"]
"""
    assert discover({"pyproject.toml": text}) == (
        'many<0.3,>=0.2.3; sys_platform == "win32"',
        'many<1.3,>=1.2; sys_platform == "linux"',
        "poetry-core",
        "pytest<9,>=8",
        "requests<3,>=2.13.0",
        "slow[x,y]==1.0",
        'tomli<3,>=1.1.0; python_full_version < "3.11"',
    )


@pytest.mark.parametrize(
    ("constraint", "meant"),
    [
        ("*", ""),
        ("^1.2.3", ">=1.2.3,<2"),
        ("^0.2.3", ">=0.2.3,<0.3"),
        ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("^0", ">=0,<1"),
        ("~1.2.3", ">=1.2.3,<1.3"),
        ("~1", ">=1,<2"),
        ("~=1.4", "~=1.4"),
        (">= 1.0, < 2", ">=1.0,<2"),
        (">=1.0 <2", ">=1.0,<2"),
        ("1.5.*", "==1.5.*"),
        ("^2.0b1", ">=2.0b1,<3"),
    ],
)
def test_poetrys_constraints_mean_what_poetry_says(constraint: str, meant: str) -> None:
    assert poetry.specifier(constraint) == meant


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"requirements.txt": b"x @ https://example.org/x.whl\n"}, "example.org"),
        ({"requirements.txt": b"git+https://example.org/x.git\n"}, "git"),
        ({"requirements.txt": b"-e git+ssh://example.org/x.git#egg=x\n"}, "git"),
        ({"requirements.txt": b"./vendored/x\n"}, "vendored"),
        ({"requirements.txt": b"-r missing.txt\n"}, "missing.txt"),
        ({"requirements.txt": b"-r ../outside.txt\n"}, "outside.txt"),
        ({"requirements.txt": b"-r requirements.txt\n"}, "include each other"),
        ({"requirements.txt": b"\xff\xfe"}, "UTF-8"),
        ({"pyproject.toml": b"[project"}, "pyproject.toml"),
        ({"pyproject.toml": b"[project]\ndependencies=['x @ file:///etc/passwd']"}, "file:///etc/passwd"),
        ({"pyproject.toml": b"[tool.poetry.dependencies]\nx = {git = 'https://example.org/x'}"}, "`x`"),
        ({"pyproject.toml": b"[tool.poetry.dependencies]\nx = {path = '../x'}"}, "`x`"),
        ({"pyproject.toml": b"[tool.poetry.dependencies]\nx = '^nonsense'"}, "nonsense"),
        ({"pyproject.toml": b"[dependency-groups]\ndev=[{include-group='dev'}]"}, "includes itself"),
        ({"setup.cfg": b"no section\n"}, "setup.cfg"),
    ],
)
def test_what_cannot_be_locked_is_named(files: dict[str, bytes], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        discover(files)


@given(
    st.dictionaries(
        st.sampled_from(["pyproject.toml", "setup.cfg", "setup.py", "requirements.txt"]), st.binary(max_size=200)
    )
)
def test_any_files_are_read_or_refused(files: dict[str, bytes]) -> None:
    with contextlib.suppress(UsageError):
        assert "pytest" in " ".join(discover(files))


@pytest.mark.usefixtures("no_pip_configuration")
def test_resolving_chooses_for_the_images_python_and_names_every_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A marker that this machine's Python decides differently changes nothing; the index's host is not in the lock."""
    old, new = images.wheel("lib", "1.0"), images.wheel("lib", "2.0")
    for_old = images.wheel("only311")
    app = images.wheel(
        "app",
        requires=[
            'lib<2; python_version < "3.12"',
            'only311; python_version == "3.11"',
            'gone; python_version > "3.11"',
        ],
    )
    with images.index(app, old, new, for_old) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        lock = requirements.resolve(["app", 'gone; python_version < "3"'], silent)
    pins = {pin.name: pin for pin in requirements.read(lock)}
    assert {name: pin.version for name, pin in pins.items()} == {"app": "1.0", "lib": "1.0", "only311": "1.0"}
    assert pins["lib"].hashes == (hashlib.sha256(old[1]).hexdigest(),)
    assert b"127.0.0.1" not in lock


@pytest.mark.usefixtures("no_pip_configuration")
def test_what_cannot_be_resolved_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with images.index(images.wheel("app", requires=["absent"]), ("source-1.0.tar.gz", b"x")) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        for name, named in (("app", "absent"), ("source", "source"), ("nowhere", "nowhere")):
            with pytest.raises(UsageError, match=named):
                requirements.resolve([name], silent)
    with pytest.raises(UsageError, match="URL"):
        requirements.resolve(["x @ https://example.org/x.whl"], silent)


@pytest.mark.usefixtures("no_pip_configuration")
def test_no_answer_is_not_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(UnavailableError, match="no package index answers"):
        requirements.resolve(["anything"], silent)


@pytest.mark.usefixtures("no_pip_configuration")
def test_only_the_locked_bytes_are_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good = images.wheel("app")
    evil = (good[0], images.wheel("app", files={"app/__init__.py": b"EVIL = 1\n"})[1])
    with images.index(good) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        lock = requirements.resolve(["app"], silent)
        requirements.fetch(lock, folder(tmp_path / "good"))
    assert (tmp_path / "good" / good[0]).read_bytes() == good[1]
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "no-cache"))
    with images.index(evil) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        with pytest.raises(UsageError, match="app"):
            requirements.fetch(lock, folder(tmp_path / "evil"))


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_markers_are_evaluated_for_the_images() -> None:
    from packaging.markers import Marker  # noqa: PLC0415 - one test

    assert target.holds(Marker('python_full_version == "3.11.2" and sys_platform == "linux"'))
    assert not target.holds(Marker('python_version >= "3.12" or platform_system == "Windows"'))
    assert target.holds(Marker('extra == "x"'), ("y", "x"))
    assert not target.holds(Marker('extra == "x"'))
