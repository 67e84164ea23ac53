"""What an image is: the OCI image configuration in canonical form, and its SHA-256.

`https://github.com/opencontainers/image-spec/blob/v1.1.0/config.md`. Everything that tells two images apart stands in
it, so the identity covers it; nothing else does (no time, no history, no builder).
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from typing import Any, Final

from agent_pipeline.documents import strict
from agent_pipeline.documents.image_recipe import ImageRecipe
from agent_pipeline.errors import SandboxError, SchemaError

LABEL: Final = "dev.agent-pipeline."
CREATED: Final = "1970-01-01T00:00:00Z"
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
MAX_LAYERS: Final = 16
_HEXADECIMAL: Final = frozenset("0123456789abcdef")
_DIGEST: Final = 64


@dataclass(frozen=True, slots=True)
class Facts:
    """What a configuration says: the image's name, layers from the bottom up, Debian packages, what it derives from."""

    name: str
    layers: tuple[str, ...]
    packages: dict[str, str]
    base: str | None
    requirements: str | None


def architecture() -> str:
    """Return this machine's architecture in OCI's words. Raises `SandboxError` for one that is not supported."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise SandboxError(f"images are made for {', '.join(sorted(_ARCHITECTURES))}; this machine is {machine}")
    return _ARCHITECTURES[machine]


def configuration(recipe: ImageRecipe, facts: Facts) -> bytes:
    """Return the canonical configuration of a base image made from `recipe`."""
    env = [f"{name}={value}" for name, value in sorted(recipe.env.items())]
    user = f"{recipe.user.uid}:{recipe.user.uid}"
    return _write({"Env": env, "User": user, "WorkingDir": recipe.workdir}, facts)


def derived(base: bytes, facts: Facts) -> bytes:
    """Return the canonical configuration of an image that runs as the image with configuration `base` does."""
    config = json.loads(base)["config"]
    return _write({key: config[key] for key in ("Env", "User", "WorkingDir")}, facts)


def _write(config: dict[str, Any], facts: Facts) -> bytes:
    labels = {LABEL + "name": facts.name, LABEL + "packages": strict.canonical(facts.packages).decode()}
    if facts.base is not None:
        labels[LABEL + "base"] = facts.base
    if facts.requirements is not None:
        labels[LABEL + "requirements"] = facts.requirements
    return strict.canonical(
        {
            "architecture": architecture(),
            "config": {**config, "Labels": labels},
            "created": CREATED,
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}" for layer in facts.layers]},
        }
    )


def read(config: bytes) -> Facts:
    """Read a configuration that may come from anywhere. Raises `SchemaError` unless it is one that we would write."""
    document = strict.parse(config, what="the image's configuration")
    try:
        labels = document["config"]["Labels"]
        facts = Facts(
            name=_text(labels[LABEL + "name"]),
            layers=tuple(_layer(item) for item in document["rootfs"]["diff_ids"]),
            packages=_packages(labels[LABEL + "packages"]),
            base=_optional_digest(labels.get(LABEL + "base")),
            requirements=_optional_digest(labels.get(LABEL + "requirements")),
        )
        again = derived(config, facts)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SchemaError(f"the image's configuration is not one of ours: {error!r}"[:300]) from error
    if document.get("architecture") != architecture() and document.get("architecture") in _ARCHITECTURES.values():
        raise SchemaError(f"the image is for {document['architecture']}, and this machine is {architecture()}")
    if again != config or not 0 < len(facts.layers) <= MAX_LAYERS or len(set(facts.layers)) != len(facts.layers):
        raise SchemaError("the image's configuration is not in the form that this program writes on this architecture")
    _check_config(document["config"])
    return facts


def _check_config(config: dict[str, Any]) -> None:
    env = config["Env"]
    if not (isinstance(env, list) and all(isinstance(item, str) and "=" in item for item in env)):
        raise SchemaError("the image's environment is not a list of NAME=value")
    if not all(isinstance(config[key], str) for key in ("User", "WorkingDir")):
        raise SchemaError("the image's user or working directory is not text")


def is_digest(text: object) -> bool:
    """Whether `text` is a SHA-256 in lower-case hexadecimal."""
    return isinstance(text, str) and len(text) == _DIGEST and set(text) <= _HEXADECIMAL


def _layer(item: str) -> str:
    algorithm, _, digest = item.partition(":")
    if algorithm != "sha256" or not is_digest(digest):
        raise ValueError(f"layer {item!r}")
    return digest


def _optional_digest(item: object) -> str | None:
    if item is not None and not is_digest(item):
        raise ValueError(f"digest {item!r}")
    return item if isinstance(item, str) else None


def _text(item: object) -> str:
    if not isinstance(item, str) or not item.isprintable() or not 0 < len(item) <= _DIGEST:
        raise ValueError(f"name {item!r}")
    return item


def _packages(label: str) -> dict[str, str]:
    packages = strict.parse(label.encode(), what="the image's list of packages")
    if not isinstance(packages, dict) or not all(isinstance(version, str) for version in packages.values()):
        raise ValueError("packages")
    return packages
