"""The images on this machine, by identity.

`<cache>/images/<identity>/` holds `config.json` and `layers/<sha256>.tar`. An image appears whole, by one rename, or
not at all; what an interrupt leaves is an unnamed directory whose lock nobody holds, and the next writer removes it.
Layers that two images share are one file with two names.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agent_pipeline.config import Config
from agent_pipeline.documents import strict
from agent_pipeline.documents.images_lock import LockedImage
from agent_pipeline.errors import SandboxError, SchemaError, StorageError
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images import identity as identities

_STAGING: Final = ".staging-"
_LOCK: Final = ".lock"


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image on this machine. `bytes` counts its layers, shared ones too; `since` is when it came here."""

    name: str
    identity: str
    base: str | None
    packages: dict[str, str]
    requirements: str | None
    bytes: int
    since: datetime

    def locked(self) -> LockedImage:
        """Return what an images lock says of it."""
        return LockedImage(self.identity, self.packages, self.base, self.requirements, identities.architecture())


class Store:
    """Reads and adds images. Writers of one store take turns, whichever process they are in."""

    def __init__(self, config: Config) -> None:
        """Look below the configured cache directory, which need not exist."""
        self.folder = config.images

    def get(self, identity: str) -> Image | None:
        """Return the image, or None when it is not here or not whole. Layers are checked where they are used."""
        found = self._read(identity)
        return Image(found.name, identity, self.folder / identity) if found is not None else None

    def facts(self, identity: str) -> StoredImage | None:
        """Return what is known of an image, or None."""
        return self._read(identity)

    def list(self) -> tuple[StoredImage, ...]:
        """Return all images, by name and identity."""
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        found = [self._read(name) for name in names if identities.is_digest(name)]
        return tuple(
            sorted((image for image in found if image is not None), key=lambda image: (image.name, image.identity))
        )

    def require(self, name: str, locked: LockedImage) -> Image:
        """Return the image that the lock calls `name`. Raises `SandboxError` when it is not here, or another."""
        image = self.get(locked.identity)
        if image is not None:
            return image
        others = [other.identity[:12] for other in self.list() if other.name == name]
        here = f" (here are others of that name: {', '.join(others[:5])})" if others else ""
        again = "`agent-pipeline image import FILE`, with what `agent-pipeline image export` wrote where it is"
        hint = again if locked.base else f"`agent-pipeline image build {name}`, or {again}"
        raise SandboxError(
            f"the locked image {name}, sha256:{locked.identity[:12]}, is not on this machine{here}", hint=hint
        )

    def add(self, config: bytes, sources: Mapping[str, Path]) -> Image:
        """Add the image with this configuration; `sources` has every layer's file by SHA-256, on the same file system.

        The layers' content must have been checked by who calls. Raises `StorageError`.
        """
        facts, name = identities.read(config), strict.sha256(config)
        image = Image(facts.name, name, self.folder / name)
        if self.get(name) is not None:
            return image
        with self.staging() as folder:
            (folder / "image" / "layers").mkdir(parents=True)
            for layer in facts.layers:
                target = folder / "image" / "layers" / f"{layer}.tar"
                os.link(sources[layer], target)
                target.chmod(0o444)
            (folder / "image" / "config.json").write_bytes(config)
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(image.folder)  # not whole, or `get` would have found it
            (folder / "image").rename(image.folder)
        return image

    def layer(self, digest: str) -> Path | None:
        """Return the file of a layer that some image here has."""
        return next(iter(sorted(self.folder.glob(f"*/layers/{digest}.tar"))), None) if self.folder.is_dir() else None

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """Give an empty directory beside the images, which vanishes afterwards. Raises `StorageError`."""
        with storage(f"the image store {self.folder}"):
            folder, descriptor = self._stage()
            try:
                yield folder
            finally:
                remove(folder)
                os.close(descriptor)

    def _stage(self) -> tuple[Path, int]:
        """Make a directory and take its lock, while nobody sweeps; remove what the dead left."""
        make_readable(self.folder)
        with (self.folder / ".turn-staging").open("wb") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            for stale in self.folder.glob(f"{_STAGING}*"):
                self._sweep(stale)
            folder = Path(tempfile.mkdtemp(prefix=_STAGING, dir=self.folder))
            folder.chmod(0o755)
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        return folder, descriptor

    @staticmethod
    def _sweep(folder: Path) -> None:
        """Remove a directory whose writer is dead: its lock can be taken."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.suppress(OSError))  # alive, or not ours to remove, which is harmless
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(folder)

    @contextlib.contextmanager
    def turn(self, what: str, progress: Callable[[str], None]) -> Iterator[None]:
        """Hold the turn for making `what`; whoever waits is told."""
        with storage(f"the image store {self.folder}"):
            make_readable(self.folder)
            descriptor = os.open(self.folder / f".turn-{what}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress(f"another process is making {what}: waiting for it")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self, identity: str) -> StoredImage | None:
        folder = self.folder / identity
        try:
            config = (folder / "config.json").read_bytes()
            facts, since = identities.read(config), datetime.fromtimestamp(folder.stat().st_mtime, UTC)
            sizes = [(folder / "layers" / f"{layer}.tar").stat().st_size for layer in facts.layers]
        except (OSError, SchemaError):
            return None
        if strict.sha256(config) != identity:
            return None
        return StoredImage(facts.name, identity, facts.base, facts.packages, facts.requirements, sum(sizes), since)


@contextlib.contextmanager
def storage(what: str) -> Iterator[None]:
    """Turn trouble with the disk into `StorageError`, naming `what`."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{what}: {error.strerror or error}" + (f" ({error.filename})" if error.filename else ""),
            hint="make room or mend the permissions there, then try again; nothing half-written was left",
        ) from error


def make_readable(folder: Path) -> None:
    """Make a directory that everybody may read: the sandbox gives up its rights before it opens the image."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in made:
        path.chmod(0o755)


def remove(folder: Path) -> None:
    """Remove a directory of ours, read-only content too, but never what is mounted in it."""
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    if any(f"{line.split()[1]}/".startswith(f"{folder}/") for line in mounts):
        raise OSError(0, "something is mounted in it", str(folder))
    if not folder.is_dir():
        return
    for parent, _, _ in os.walk(folder) if os.geteuid() != 0 else ():
        path = Path(parent)
        if not path.is_symlink() and not path.stat().st_mode & stat.S_IWUSR:
            path.chmod(0o755)
    shutil.rmtree(folder)


def verified(image: Image) -> Iterator[Path]:
    """Yield the image's layer files from the bottom up, each after its digest was computed. Raises `SandboxError`."""
    facts = identities.read((image.folder / "config.json").read_bytes())
    for layer in facts.layers:
        path = image.folder / "layers" / f"{layer}.tar"
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != layer:
            raise SandboxError(
                f"layer {layer[:12]} of the image {image.name} has been changed on disk: {path}",
                hint=f"remove {image.folder} and make or import the image again",
            )
        yield path
