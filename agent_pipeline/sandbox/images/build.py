"""Building a base image: pulled where a registry has it, otherwise bootstrapped; the locked image or an error."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent_pipeline.config import Config
from agent_pipeline.documents import strict
from agent_pipeline.documents.images_lock import ImagesLock, LockedImage
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images import debian, identity, layers, locks, normal, recipe
from agent_pipeline.sandbox.images.recipe import Ingredients
from agent_pipeline.sandbox.images.registry.pull import locked_pull
from agent_pipeline.sandbox.images.store import Store

Progress = Callable[[str], None]
# Part of the name under which bootstrapped packages are kept: raise it when `normal` or `layers` write other bytes.
FORM: Final = 2
_NAMED: Final = 12
_KEPT: Final = 3  # bootstrapped bottom layers that stay at hand


@dataclass(frozen=True, slots=True)
class _Packages:
    """The bottom layer, and which packages are in it."""

    layer: str
    file: Path
    versions: dict[str, str]


def ensure(config: Config, name: str, progress: Progress) -> tuple[LockedImage, Image]:
    """Return the base image `name` as its lock has it, made now when it is not here. Raises as `build`."""
    locked = build(config, name, progress)
    return locked, Store(config).require(name, locked)


def build(config: Config, name: str, progress: Progress, *, relock: bool = False, newest: bool = False) -> LockedImage:
    """Make the base image `name` unless it is here, and return its lock entry.

    Raises `OutdatedLockError` when what can be made is not the locked image, naming each package that moved; with
    `relock` that is taken, recorded for this machine and said instead; with `newest` the locked versions are not even
    asked for. Raises `UsageError` for an unknown or incomplete recipe, `SandboxError` when it cannot be made at all, or
    is locked for another architecture.
    """
    ingredients, locked = recipe.load(name), locks.shipped(name)
    newest = newest or (relock and locked is not None and not locks.is_for_here(locked))
    found = None if relock or newest else _at_hand(config, ingredients, locked, progress)
    if found is not None:
        return found
    try:
        return make(config, ingredients, locked, progress, newest=newest)
    except locks.OutdatedLockError as error:
        if not relock:
            raise
        progress(f"{error.message}; relocked on this machine: sha256:{error.made.identity[:_NAMED]}")
        return locks.relock(config, error)


def wanted(config: Config, name: str) -> tuple[str, ...]:
    """Return the identities that this machine takes `name` for: the shipped lock's, and what was relocked instead."""
    locked = locks.shipped(name)
    if locked is None:
        return ()
    instead = locks.relocked(config, recipe.load(name), locked)
    return tuple(entry.identity for entry in (locked, instead) if entry is not None)


def make(
    config: Config, ingredients: Ingredients, locked: LockedImage | None, progress: Progress, *, newest: bool = False
) -> LockedImage:
    """Make the image of these ingredients and return its lock entry, which is `locked`.

    Raises `OutdatedLockError` when it came out as another one, naming what differs; that one is in the store then.
    Raises `OtherArchitectureError` before anything is made, when it is locked for another machine than this.
    """
    store, pins = Store(config), locked.packages if locked is not None and not newest else {}
    if locked is not None and not newest:
        locks.check_is_for_here(ingredients.name, locked, "`agent-pipeline image build --relock`")
    with store.turn(f"image-{ingredients.name}", progress):
        pulled = locked_pull(store, locked, progress, "bootstrapping") if locked is not None and not newest else None
        image = pulled or _make(store, ingredients, pins, progress)
    facts = store.facts(image.identity)
    assert facts is not None  # noqa: S101 - it was added just now
    made = facts.locked()
    if locked is None or made.identity != locked.identity:
        raise locks.OutdatedLockError(_difference(ingredients.name, locked, made), ingredients, locked, made)
    progress(f"image {ingredients.name}: sha256:{made.identity}")
    return locked


def _at_hand(
    config: Config, ingredients: Ingredients, locked: LockedImage | None, progress: Progress
) -> LockedImage | None:
    store, instead = Store(config), locks.relocked(config, ingredients, locked)
    for entry, note in ((locked, ""), (instead, ", relocked on this machine")):
        if entry is not None and store.get(entry.identity) is not None and _current(store, ingredients, entry):
            progress(f"image {ingredients.name}: sha256:{entry.identity[:_NAMED]} is here{note}")
            return entry
    return None


def _current(store: Store, ingredients: Ingredients, entry: LockedImage) -> bool:
    """Whether an image is still what the recipe would make of the same packages: its own files may have changed."""
    kept = _kept(store, ingredients, entry.packages)
    return kept is None or strict.sha256(_configuration(ingredients, kept, _own_layer(ingredients))) == entry.identity


def _make(store: Store, ingredients: Ingredients, wanted: dict[str, str], progress: Progress) -> Image:
    packages = _kept(store, ingredients, wanted) if wanted else None
    if packages is None or _digest(packages.file) != packages.layer:
        packages = _bootstrap(store, ingredients, wanted, progress)
    with store.staging() as folder:
        own = folder / "own.tar"
        with own.open("wb") as file:
            digest = layers.write(normal.added(ingredients.files, ingredients.recipe.directories), file)
        return store.add(_configuration(ingredients, packages, digest), {packages.layer: packages.file, digest: own})


def _own_layer(ingredients: Ingredients) -> str:
    return layers.write(normal.added(ingredients.files, ingredients.recipe.directories), None)


def _configuration(ingredients: Ingredients, packages: _Packages, own: str) -> bytes:
    facts = identity.Facts(ingredients.name, (packages.layer, own), packages.versions, None, None)
    return identity.configuration(ingredients.recipe, facts)


def _bootstrap(store: Store, ingredients: Ingredients, pins: dict[str, str], progress: Progress) -> _Packages:
    with store.staging() as folder:
        archive = debian.bootstrap(ingredients.recipe, pins, folder, progress)
        progress("  normalising")
        kept = folder / "kept"
        kept.mkdir()
        with archive.open("rb") as source, (kept / "layer.tar").open("wb") as target:
            versions = normal.packages(source)
            digest = layers.write(normal.entries(source, ingredients.recipe), target)
        (kept / "packages.json").write_bytes(ImagesLock(1, {ingredients.name: LockedImage(digest, versions)}).to_json())
        final = _kept_folder(store, ingredients, versions)
        final.parent.mkdir(exist_ok=True)
        if final.exists():
            final.rename(folder / "former")  # the same packages once more, or damaged since
        kept.rename(final)
        for number, old in enumerate(sorted(final.parent.iterdir(), key=lambda path: -path.stat().st_mtime)[_KEPT:]):
            old.rename(folder / f"old-{number}")
    return _Packages(digest, final / "layer.tar", versions)


def _kept(store: Store, ingredients: Ingredients, versions: dict[str, str]) -> _Packages | None:
    """Return the bottom layer of exactly these packages, if it was made before."""
    folder = _kept_folder(store, ingredients, versions)
    if not (folder / "packages.json").is_file():
        return None
    locked = ImagesLock.from_json((folder / "packages.json").read_bytes()).images[ingredients.name]
    return _Packages(locked.identity, folder / "layer.tar", locked.packages)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "missing"


def _kept_folder(store: Store, ingredients: Ingredients, versions: dict[str, str]) -> Path:
    plain = ingredients.recipe.to_dict()
    parts = {key: plain[key] for key in ("suite", "packages", "remove", "compile", "user")}
    key = strict.canonical([FORM, identity.architecture(), parts, versions])
    return store.folder / ".packages" / strict.sha256(key)


def _difference(name: str, locked: LockedImage | None, made: LockedImage) -> str:
    """Say how what was made differs from the lock."""
    if locked is None:
        return f"the image {name} has no lock"
    changed = locks.differences(locked.packages, made.packages)
    if locked.architecture != made.architecture:
        return f"the image {name} is locked for {locked.architecture}; what was made here is for {made.architecture}"
    if changed:
        more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        return f"the mirror no longer has the locked packages of the image {name}: {'; '.join(changed[:_NAMED])}{more}"
    return f"the image {name} has the locked packages; its recipe, own files or platform are not the lock's"
