"""The lock that ships with the recipes, and what a machine uses instead when a mirror no longer has those packages.

A relock is a decision of who runs the machine, never made in passing: it is recorded below the cache for exactly the
recipe and the shipped lock that could not be honoured, and said each time it is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agent_pipeline.config import Config
from agent_pipeline.documents import strict
from agent_pipeline.documents.images_lock import ImagesLock, LockedImage
from agent_pipeline.documents.schema import data_folder
from agent_pipeline.errors import SandboxError
from agent_pipeline.files import written_whole
from agent_pipeline.sandbox.images import identity
from agent_pipeline.sandbox.images.recipe import Ingredients
from agent_pipeline.sandbox.images.store import make_readable, storage

FILE: Final = "images.lock.json"


class OutdatedLockError(SandboxError):
    """The image that can be made here is not the locked one. `made` is what was made, and is in the store."""

    def __init__(self, message: str, ingredients: Ingredients, locked: LockedImage | None, made: LockedImage) -> None:
        """Keep all that who decides to take it needs."""
        super().__init__(
            message, hint="`agent-pipeline image build --relock` takes what can be had now, and says what it is"
        )
        self.ingredients, self.locked, self.made = ingredients, locked, made


class OtherArchitectureError(SandboxError):
    """The image is locked for another architecture than this machine's."""


def shipped(name: str) -> LockedImage | None:
    """Return the lock entry that ships with the recipe."""
    path = data_folder("sandbox_images") / FILE
    return ImagesLock.from_json(path.read_bytes()).images.get(name) if path.is_file() else None


def relocked(config: Config, ingredients: Ingredients, locked: LockedImage | None) -> LockedImage | None:
    """Return what this machine was told to use instead for exactly this recipe and lock, or None."""
    path = _relock(config, ingredients, locked)
    return ImagesLock.from_json(path.read_bytes()).images.get(ingredients.name) if path.is_file() else None


def relock(config: Config, outdated: OutdatedLockError) -> LockedImage:
    """Record the decision to use what was made instead, and return it."""
    path = _relock(config, outdated.ingredients, outdated.locked)
    write(path, ImagesLock(1, {outdated.ingredients.name: outdated.made}))
    return outdated.made


def write(path: Path, lock: ImagesLock) -> None:
    """Write a lock atomically. Raises `StorageError`."""
    with storage(str(path)):
        make_readable(path.parent)
        with written_whole(path, mode=0o644) as file:
            file.write(lock.to_json() + b"\n")


def _relock(config: Config, ingredients: Ingredients, locked: LockedImage | None) -> Path:
    key = strict.sha256(strict.canonical([ingredients.digest(), locked.identity if locked else None]))
    return config.images / ".relocks" / f"{key}.json"


def is_for_here(locked: LockedImage) -> bool:
    """Whether a locked image runs on this machine's architecture."""
    return locked.architecture == identity.architecture()


def check_is_for_here(name: str, locked: LockedImage, instead: str) -> None:
    """Raise `OtherArchitectureError` unless an image is locked for this machine, naming what to do `instead`."""
    if not is_for_here(locked):
        here = identity.architecture()
        raise OtherArchitectureError(
            f"the image {name} is locked for {locked.architecture}, and this machine is {here}",
            hint=f"{instead} makes one for {here}, with an identity of its own; or run this on {locked.architecture}",
        )


def differences(locked: dict[str, str], made: dict[str, str]) -> list[str]:
    """Return each package that differs, in words; first those that were locked."""
    return [
        f"{name} {locked.get(name, 'not locked')} -> {made.get(name, 'no longer needed')}"
        for name in (*sorted(locked), *sorted(set(made) - set(locked)))
        if locked.get(name) != made.get(name)
    ]
