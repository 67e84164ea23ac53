"""The lock that setup installs: everything that is asked for, hashed, and nothing about where it comes from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
AGAIN = (
    "uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes "
    "--only-binary :all: --no-annotate --output-file ci/requirements.lock"
)


def pins() -> dict[str, str]:
    text = (ROOT / "ci" / "requirements.lock").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", text, flags=re.MULTILINE))


def test_the_lock_has_what_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    texts = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["dev"]]
    for requirement in map(Requirement, [*texts, *project["build-system"]["requires"]]):
        version = pins().get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not locked: {AGAIN}"
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement} is not {version}: {AGAIN}"


def test_the_vectors_are_those_of_the_library_that_they_try() -> None:
    assert pins()["cryptography-vectors"] == pins()["cryptography"]


def test_every_pin_has_hashes_and_nothing_names_a_host() -> None:
    text = (ROOT / "ci" / "requirements.lock").read_text(encoding="utf-8")
    assert len(pins()) > 50
    for block in re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.MULTILINE)[1:]:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block.splitlines()[0]
    assert "://" not in text
    assert not re.search(r"^\s*--(?:extra-)?index|^\s*--find-links|^-e", text, flags=re.MULTILINE)
