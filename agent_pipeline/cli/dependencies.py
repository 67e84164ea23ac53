"""A project's dependencies: found in the files of a commit, locked, and renewed once the repository is set up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from agent_pipeline.config import Config
from agent_pipeline.documents.images_lock import PATH as IMAGES_PATH
from agent_pipeline.documents.images_lock import REQUIREMENTS, ImagesLock, LockedImage
from agent_pipeline.errors import RejectedError, SchemaError, StorageError, UsageError
from agent_pipeline.files import written_whole
from agent_pipeline.repository import trees
from agent_pipeline.repository.clone import Clone
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.engines import choose
from agent_pipeline.sandbox.images import discovery, locks, requirements
from agent_pipeline.sandbox.images.derive import derive, ensure
from agent_pipeline.sandbox.images.sources import NOWHERE_ELSE, Sources
from agent_pipeline.sandbox.images.store import Store

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Renewed:
    """The image's entry as it is now, and what changed: package by package, and the files that were written."""

    locked: LockedImage
    changes: tuple[str, ...]
    written: tuple[str, ...]


def project_files(clone: Clone, commit: str) -> dict[str, bytes]:
    """Return the files of a commit that name dependencies, by path."""
    found = {}
    for entry in trees.entries(clone, clone.tree(commit)):
        path = entry.path.decode("utf-8", "surrogateescape")
        if discovery.candidate(path) and entry.mode.startswith("100"):
            found[path] = clone.blob(entry.oid)
    return found


def resolved(clone: Clone, commit: str, tell: Tell, sources: Sources = NOWHERE_ELSE) -> bytes:
    """Return the requirements lock for what the files of a commit name."""
    wanted = discovery.discover(project_files(clone, commit))
    tell(f"dependencies: {', '.join(wanted)}")
    return requirements.resolve(wanted, tell, sources)


def own_lock(start: Path) -> tuple[Clone, ImagesLock] | None:
    """Return the repository around `start` and the images lock in its working tree; None where there is none.

    Raises `SchemaError` for a lock that does not have its form.
    """
    try:
        clone = Clone.discover(start)
    except UsageError:
        return None
    data = _current(clone.worktree, IMAGES_PATH) if clone.worktree is not None else b""
    if not data:
        return None
    try:
        return clone, ImagesLock.from_json(data)
    except SchemaError as error:
        raise SchemaError(f"{IMAGES_PATH}: {error.message}", hint=f"restore it: git restore {IMAGES_PATH}") from error


def renew(
    clone: Clone, config: Config, lock: ImagesLock, name: str, tell: Tell, sources: Sources = NOWHERE_ELSE
) -> Renewed:
    """Lock what HEAD's commit names, make the image `name` of it, and write both locks into the working tree.

    Nothing is written unless something changed, and then only once the image is there.
    """
    assert clone.worktree is not None  # noqa: S101 - `own_lock` found the lock in it
    commit, before = clone.commit("HEAD"), lock.images[name]
    left_out = [path for path in clone.dirty() if path not in (IMAGES_PATH, REQUIREMENTS)]
    if left_out:
        tell(f"note: uncommitted changes are left out: {', '.join(left_out[:5])}{' …' if len(left_out) > 5 else ''}")  # noqa: PLR2004
    old, new = _current(clone.worktree, REQUIREMENTS), resolved(clone, commit, tell, sources)
    was, now = _read(old, tell), requirements.read(new)
    if was == now:
        new = old  # the same packages, whatever the comments say
    engine = choose(config, ("docker", "bubblewrap"), None)
    locked = derive(config, engine, _base(config, lock, before), new, name, tell, sources)
    if locked.identity == before.identity:
        locked = before  # with what else the lock says of it: where it can be had
    if (new, locked) == (old, before):
        return Renewed(locked, (), ())
    images = replace(lock, images={**lock.images, name: locked})
    files = {REQUIREMENTS: new, IMAGES_PATH: images.to_json() + b"\n"}
    for path, data in files.items():
        write(clone.worktree, path, data)
    return Renewed(locked, _changes(was or (), now), tuple(files))


def as_locked(
    clone: Clone, config: Config, lock: ImagesLock, name: str, tell: Tell, sources: Sources = NOWHERE_ELSE
) -> LockedImage:
    """Make the image `name` exactly as both lock files of the working tree say. Raises as `derive.ensure`."""
    assert clone.worktree is not None  # noqa: S101 - `own_lock` found the lock in it
    engine = choose(config, ("docker", "bubblewrap"), None)
    ensure(config, engine, lock, name, _current(clone.worktree, REQUIREMENTS), tell, sources)
    return lock.images[name]


def _read(lock: bytes, tell: Tell) -> tuple[requirements.Pinned, ...] | None:
    """Return what was locked, None for a lock that cannot be read: it is what this is to replace."""
    try:
        return requirements.read(lock)
    except RejectedError as error:
        tell(f"note: {error.message}; it is written anew")
        return None


def _changes(was: tuple[requirements.Pinned, ...], now: tuple[requirements.Pinned, ...]) -> tuple[str, ...]:
    """Return each package that differs, in words; one of the same version is another file of it."""
    versions = locks.differences({pin.name: pin.version for pin in was}, {pin.name: pin.version for pin in now})
    files = {(pin.name, pin.version): pin.hashes for pin in was}
    other = [pin for pin in now if files.get((pin.name, pin.version), pin.hashes) != pin.hashes]
    return (*versions, *(f"{pin.name} {pin.version}: another file" for pin in other))


def _base(config: Config, lock: ImagesLock, entry: LockedImage) -> Image:
    """Return the image that `entry` derives from. Raises `SandboxError` when it is not on this machine."""
    assert entry.base is not None  # noqa: S101 - who calls has looked
    named = {image.identity: (name, image) for name, image in lock.images.items()}
    name, locked = named.get(entry.base, ("python", LockedImage(entry.base, {})))
    return Store(config).require(name, locked)


def _current(worktree: Path, path: str) -> bytes:
    """Return a file of the working tree, empty where there is none. Raises `UsageError` for a link in its way."""
    file = worktree / path
    if file.is_symlink() or file.parent.is_symlink():
        raise UsageError(f"{path} is reached through a symbolic link", hint="make it a plain file in its directory")
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return b""


def write(worktree: Path, path: str, data: bytes) -> None:
    """Replace a file of the working tree, whole or not at all. Raises `StorageError`."""
    target = worktree / path
    try:
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
        with written_whole(target, mode=mode) as file:
            file.write(data)
    except OSError as error:
        raise StorageError(
            f"{target}: {error.strerror or error}", hint="make room or mend the permissions there, then try again"
        ) from error
