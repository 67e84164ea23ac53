"""Poetry's own way to state requirements (`[tool.poetry]`), in the words that every other tool reads.

`^1.2` is `>=1.2,<2`, `~1.2` is `>=1.2,<1.3`; of alternatives (`||`) the last one is taken.
https://python-poetry.org/docs/dependency-specification/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from agent_pipeline.errors import UsageError

_RELEASE = re.compile(r"\s*v?(\d+(?:\.\d+)*)(.*)")
_NAMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def requirements(table: dict[str, Any], groups: tuple[str, ...]) -> Iterator[str]:
    """Yield the requirements of a `[tool.poetry]` table: its own and those of the named groups and extras.

    Raises `UsageError` naming one that is no release of a package.
    """
    wanted_extras = {name for extra in groups for name in _list(_dict(table.get("extras")).get(extra))}
    own = _dict(table.get("dependencies"))
    tables = [own, _dict(table.get("dev-dependencies"))]
    tables += [_dict(_dict(_dict(table.get("group")).get(name)).get("dependencies")) for name in groups]
    for dependencies in tables:
        for name, stated in dependencies.items():
            for item in stated if isinstance(stated, list) else [stated]:
                optional = isinstance(item, dict) and item.get("optional") is True and name not in wanted_extras
                if name.lower() != "python" and not optional:
                    yield _requirement(name, item)


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _requirement(name: str, stated: object) -> str:
    table = stated if isinstance(stated, dict) else {"version": stated}
    version = table.get("version", "*")
    if not _NAMED.fullmatch(name) or not isinstance(version, str) or {"git", "url", "path", "file"} & set(table):
        raise UsageError(
            f"pyproject.toml: `{name[:100]}` is no release of a package, and cannot be locked",
            hint="name a release; a URL, a path or a version control system cannot go into the image",
        )
    extras = ",".join(str(extra) for extra in _list(table.get("extras")))
    conditions = [str(table["markers"])] if "markers" in table else []
    conditions += [_python(constraint) for constraint in [table.get("python")] if isinstance(constraint, str)]
    marker = " and ".join(f"({condition})" for condition in conditions if condition)
    return f"{name}{f'[{extras}]' if extras else ''}{specifier(version)}" + (f"; {marker}" if marker else "")


def _python(constraint: str) -> str:
    """Return an environment marker for a constraint on Python's version."""
    parts = [part for part in specifier(constraint).split(",") if part]
    words = [re.fullmatch(r"([<>=!~]+)(.+)", part) for part in parts]
    return " and ".join(f'python_full_version {word[1]} "{word[2]}"' for word in words if word is not None)


def specifier(constraint: str) -> str:
    """Return a version specifier (PEP 440) for one of Poetry's constraints."""
    last = constraint.rsplit("||", maxsplit=1)[-1].strip()
    parts = [part for part in re.split(r"\s*,\s*|\s+(?=[<>=!^~])", last) if part not in ("", "*")]
    return ",".join(text for part in parts for text in _one(part.replace(" ", "")))


def _one(part: str) -> list[str]:
    if part.startswith(("^", "~")) and not part.startswith("~="):
        match = _RELEASE.fullmatch(part[1:])
        if match is None:
            return [part]  # not a version: whoever reads the requirement refuses it by name
        release = [int(number) for number in match[1].split(".")]
        return [f">={match[1]}{match[2]}", f"<{'.'.join(map(str, _above(release, caret=part[0] == '^')))}"]
    return [part if part[0] in "<>=!~" else f"=={part}"]


def _above(release: list[int], *, caret: bool) -> list[int]:
    """Return the first release that is too new: after the leftmost number that is not zero, or the second with `~`."""
    if caret:
        place = next((index for index, number in enumerate(release) if number), len(release) - 1)
    else:
        place = min(1, len(release) - 1)
    return [*release[:place], release[place] + 1]
