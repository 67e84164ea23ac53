"""Which requirements a project states, read from its files alone; nothing of it is run.

Read are `pyproject.toml` (dependencies, the extras and groups for testing and developing, what its build needs),
`setup.cfg`, the literal parts of `setup.py`, and requirements files. pytest is always among them. Options in
requirements files other than `-r` are passed over: which index is asked is decided by who runs pip here, not by the
project.
"""

from __future__ import annotations

import ast
import configparser
import contextlib
import posixpath
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from agent_pipeline.errors import UsageError
from agent_pipeline.sandbox.images import poetry

_GROUPS: Final = ("test", "tests", "testing", "dev")
_FILE: Final = re.compile(
    r"(?:(?:requirements/)?requirements|(?:requirements/)?requirements[-_.](?:tests?|testing|dev)"
    r"|(?:requirements/)?(?:tests?|testing|dev)[-_]requirements|requirements/(?:base|main|tests?|testing|dev))\.(?:txt|in)"
)
_MAX_DEPTH: Final = 8
# What a backend needs for an editable install and does not state as a requirement of the build.
_EDITABLE: Final = {"hatchling": "editables"}

_STATED: Final = ("pyproject.toml", "setup.cfg", "setup.py")


def candidate(path: str) -> bool:
    """Whether `discover` may want the file at `path`, relative to the project's root."""
    return path in _STATED or (path.endswith((".txt", ".in")) and path.count("/") <= 1)


def discover(files: Mapping[str, bytes]) -> tuple[str, ...]:
    """Return the project's requirements, sorted, each once, with their environment markers.

    `files` are the project's files by path from its root. Raises `UsageError` naming a requirement that is no release
    of a package (a URL, a version control system, a path), or a file that cannot be read.
    """
    own = _Own()
    found: list[Requirement] = []
    found += _pyproject(files, own)
    found += _setup_cfg(files, own)
    found += _setup_py(files, own)
    for path in sorted(files):
        if _FILE.fullmatch(path) and not (path.endswith(".in") and path.removesuffix(".in") + ".txt" in files):
            found += _requirements_file(path, files, 0)
    kept = {
        str(requirement): requirement for requirement in found if canonicalize_name(requirement.name) not in own.names
    }
    kept.update({name: Requirement(name) for name in _also_needed(kept.values())})
    return tuple(sorted(kept))


class _Own:
    """The project's own names, once they are known: it is installed by the policy's setup, never from an index."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def add(self, name: object) -> None:
        if isinstance(name, str):
            self.names.add(canonicalize_name(name))


def _also_needed(requirements: Iterable[Requirement]) -> list[str]:
    names = {canonicalize_name(requirement.name) for requirement in requirements}
    needed = [tool for backend, tool in _EDITABLE.items() if backend in names and tool not in names]
    return needed + ([] if "pytest" in names else ["pytest"])


def _requirement(text: str, where: str) -> Requirement:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise UsageError(
            f"{where}: `{text[:200]}` is not a requirement that can be locked: {str(error).splitlines()[0]}",
            hint="name a release of a package; a URL, a path or a version control system cannot go into the image",
        ) from error
    if requirement.url is not None:
        raise UsageError(
            f"{where}: `{text[:200]}` comes from a URL, which cannot be locked",
            hint="name a release of a package, or leave it out of the extras for testing",
        )
    return requirement


def _text(path: str, files: Mapping[str, bytes]) -> str:
    try:
        return files[path].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: {error}", hint="its requirements cannot be read") from error


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, (list, tuple)) else []


def _table(value: object, key: str) -> dict[str, Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _pyproject(files: Mapping[str, bytes], own: _Own) -> Iterator[Requirement]:
    path = "pyproject.toml"
    if path not in files:
        return
    try:
        document = tomllib.loads(_text(path, files))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}", hint="mend it: the project's requirements are read from it") from error
    project = _table(document, "project")
    own.add(project.get("name"))
    texts = _strings(project.get("dependencies")) + _strings(_table(document, "build-system").get("requires"))
    texts += _extras(_table(project, "optional-dependencies"), project.get("name"))
    for name in _GROUPS:
        texts += _group(_table(document, "dependency-groups"), name, 0)
    legacy = _table(_table(document, "tool"), "poetry")
    own.add(legacy.get("name"))
    texts += poetry.requirements(legacy, _GROUPS)
    for text in texts:
        yield _requirement(text, path)
    dynamic = _table(_table(_table(document, "tool"), "setuptools"), "dynamic")
    yield from _dynamic(dynamic, files)


def _extras(extras: dict[str, Any], own_name: object) -> list[str]:
    """Return what the extras for testing hold, those included that they name as extras of the project itself."""
    known: dict[str, list[str]] = {canonicalize_name(name): _strings(texts) for name, texts in extras.items()}
    own = canonicalize_name(own_name) if isinstance(own_name, str) else None
    todo: list[str] = [name for name in _GROUPS if name in known]
    done: set[str] = set()
    texts: list[str] = []
    while todo:
        name = todo.pop()
        if name in done or name not in known:
            continue
        done.add(name)
        for text in known[name]:
            with contextlib.suppress(InvalidRequirement):
                requirement = Requirement(text)
                if canonicalize_name(requirement.name) == own:
                    todo += [canonicalize_name(extra) for extra in requirement.extras]
                    continue
            texts.append(text)
    return texts


def _group(groups: dict[str, Any], name: str, depth: int) -> list[str]:
    """Return a dependency group with those that it includes (PEP 735)."""
    if depth > _MAX_DEPTH:
        raise UsageError(f"pyproject.toml: the dependency group {name} includes itself", hint="mend its include-group")
    by_name = {canonicalize_name(key): value for key, value in groups.items()}
    items = by_name.get(canonicalize_name(name))
    texts = _strings(items)
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and isinstance(item.get("include-group"), str):
            texts += _group(groups, item["include-group"], depth + 1)
    return texts


def _dynamic(dynamic: dict[str, Any], files: Mapping[str, bytes]) -> Iterator[Requirement]:
    """Yield what setuptools reads from requirements files."""
    sources = [_table(dynamic, "dependencies")]
    sources += [_table(_table(dynamic, "optional-dependencies"), name) for name in _GROUPS]
    for source in sources:
        named = source.get("file")
        for path in [named] if isinstance(named, str) else _strings(named):
            if path in files:
                yield from _requirements_file(path, files, 0)


def _setup_cfg(files: Mapping[str, bytes], own: _Own) -> Iterator[Requirement]:
    path = "setup.cfg"
    if path not in files:
        return
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(_text(path, files))
    except configparser.Error as error:
        raise UsageError(
            f"{path}: {str(error).splitlines()[0]}", hint="mend it: requirements are read from it"
        ) from error
    own.add(parser.get("metadata", "name", fallback=None))
    values = [
        parser.get("options", key, fallback="") for key in ("install_requires", "setup_requires", "tests_require")
    ]
    values += [parser.get("options.extras_require", name, fallback="") for name in _GROUPS]
    for value in values:
        for line in value.splitlines():
            text = line.split(" #")[0].strip()
            if text and not text.startswith(("#", "file:")):
                yield _requirement(text, path)


def _setup_py(files: Mapping[str, bytes], own: _Own) -> Iterator[Requirement]:
    """Yield what `setup(...)` states literally. What it computes is not known without running it."""
    path = "setup.py"
    if path not in files:
        return
    try:
        tree = ast.parse(_text(path, files))
    except (SyntaxError, ValueError, RecursionError):
        return  # a Python 2 setup.py, say; the measurement in the sandbox shows what is missing
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        if getattr(call.func, "id", getattr(call.func, "attr", None)) != "setup":
            continue
        stated = {keyword.arg: _literal(keyword.value) for keyword in call.keywords if keyword.arg}
        own.add(stated.get("name"))
        texts = _strings(stated.get("install_requires")) + _strings(stated.get("tests_require"))
        extras = stated.get("extras_require")
        texts += [text for name in _GROUPS if isinstance(extras, dict) for text in _strings(extras.get(name))]
        for text in texts:
            yield _requirement(text, path)


def _literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _requirements_file(path: str, files: Mapping[str, bytes], depth: int) -> Iterator[Requirement]:
    """Yield the requirements of a file and of those it includes, as far as they were given."""
    if depth > _MAX_DEPTH:
        raise UsageError(f"{path}: requirements files include each other", hint="mend their -r lines")
    for raw in _text(path, files).replace("\\\n", " ").splitlines():
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        include = re.fullmatch(r"(?:-r|--requirement)[\s=]*(\S+)", line)
        if include is not None:
            nested = posixpath.normpath(posixpath.join(posixpath.dirname(path), include.group(1)))
            if nested not in files:
                raise UsageError(f"{path}: includes {nested}, which is not there", hint="mend its -r line")
            yield from _requirements_file(nested, files, depth + 1)
            continue
        editable = re.fullmatch(r"(?:-e|--editable)[\s=]*(\S+)", line)
        text = editable.group(1) if editable else re.split(r"\s--?[a-z]", line)[0].strip()
        if not text or text.startswith("-") or re.fullmatch(r"\.{1,2}(?:/\.)?/?(?:\[[^]]*\])?", text):
            continue  # an option, or the project itself
        yield _requirement(text, path)
