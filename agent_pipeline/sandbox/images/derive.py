"""A project's dependencies on top of a base image: fetched on the host, installed without a network in the sandbox.

What the sandbox leaves behind is read as data and becomes one canonical layer below /usr/local, so that the same lock
on the same base is the same image wherever it is made.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from agent_pipeline.config import Config
from agent_pipeline.documents import strict
from agent_pipeline.documents.images_lock import ImagesLock, LockedImage
from agent_pipeline.documents.words import counted
from agent_pipeline.errors import RejectedError, SandboxError, UsageError
from agent_pipeline.sandbox.contract import UID, WORKSPACE, Bounds, Engine, Image, Sandbox, Spec
from agent_pipeline.sandbox.images import identity as identities
from agent_pipeline.sandbox.images import layers, requirements, target
from agent_pipeline.sandbox.images.layers import FILE, Entry
from agent_pipeline.sandbox.images.locks import check_is_for_here
from agent_pipeline.sandbox.images.registry.pull import locked_pull
from agent_pipeline.sandbox.images.sources import NOWHERE_ELSE, Sources
from agent_pipeline.sandbox.images.store import Store, remove, verified

Progress = Callable[[str], None]
BOUNDS: Final = Bounds(memory_mb=2048, pids=128, cpus="2", disk_mb=8192, seconds=1800)
_SECONDS: Final = 900
_ROOT: Final = "root"
_PREFIX: Final = "usr/local/"
_PACKAGES: Final = f"usr/local/lib/python{target.PYTHON}/dist-packages"
_PYTHON: Final = "/usr/bin/python3"
_MAX_DEPTH: Final = 64
_MAX_FIRST_LINE: Final = 4096


def derive(  # noqa: PLR0913, PLR0917 - what goes into an image, and who makes it where
    config: Config,
    engine: Engine,
    base: Image,
    lock: bytes,
    name: str,
    progress: Progress,
    sources: Sources = NOWHERE_ELSE,
) -> LockedImage:
    """Return the image `name` with the locked wheels on top of `base`, made now when it is not here.

    Raises `UsageError` naming wheels that cannot be had or do not fit together, `RejectedError` for a malformed lock,
    `UnavailableError` when no index or engine answers.
    """
    requirements.read(lock)
    store, digest = Store(config), strict.sha256(lock)
    with store.turn(f"image-{name}", progress):
        for stored in store.list():
            if (stored.name, stored.base, stored.requirements) == (name, base.identity, digest):
                progress(f"image {name}: sha256:{stored.identity[:12]} is here")
                return stored.locked()
        with store.staging() as folder:
            layer, path = _layer(engine, base, lock, folder, progress, sources)
            below = (base.folder / "config.json").read_bytes()
            facts = identities.read(below)
            stacked = identities.Facts(name, (*facts.layers, layer), facts.packages, base.identity, digest)
            files = dict(zip(facts.layers, verified(base), strict=True))
            image = store.add(identities.derived(below, stacked), {**files, layer: path})
    progress(f"image {name}: sha256:{image.identity}")
    return LockedImage(image.identity, facts.packages, base.identity, digest, identities.architecture())


def ensure(  # noqa: PLR0913, PLR0917 - as `derive`
    config: Config,
    engine: Engine,
    locks: ImagesLock,
    name: str,
    lock: bytes,
    progress: Progress,
    sources: Sources = NOWHERE_ELSE,
) -> Image:
    """Return the image that a repository's images lock calls `name`, made here from its requirements lock if need be.

    Raises `SandboxError` when the base is not here or the result is not the locked image; otherwise as `derive`.
    """
    store, wanted = Store(config), locks.images[name]
    present = store.get(wanted.identity)
    if present is not None:
        return present
    check_is_for_here(name, wanted, "a lock of its own")
    pulled = locked_pull(store, wanted, progress, "making it")
    if pulled is not None or wanted.base is None or wanted.requirements != strict.sha256(lock):
        return pulled or store.require(name, wanted)
    base = _base(store, locks, name, wanted.base, progress)
    made = derive(config, engine, base, lock, name, progress, sources)
    if made.identity != wanted.identity:
        raise SandboxError(
            f"the image {name} came out as sha256:{made.identity[:12]}, the lock has sha256:{wanted.identity[:12]}",
            hint="`agent-pipeline image import FILE`, with what `image export` wrote where it was locked",
        )
    return store.require(name, wanted)


def _base(store: Store, locks: ImagesLock, name: str, identity: str, progress: Progress) -> Image:
    """Return the image that another derives from, pulled where the lock says from where. Raises `SandboxError`."""
    base = store.get(identity)
    entry = next((image for image in locks.images.values() if image.identity == identity), None)
    if base is None and entry is not None:
        base = locked_pull(store, entry, progress, "looking for it here")
    if base is None:
        raise SandboxError(
            f"the image {name} derives from sha256:{identity[:12]}, which is not on this machine",
            hint="`agent-pipeline image build` makes the base, or `agent-pipeline image import FILE`",
        )
    return base


def _layer(
    engine: Engine, base: Image, lock: bytes, folder: Path, progress: Progress, sources: Sources
) -> tuple[str, Path]:
    """Return the SHA-256 and the file of the layer with the installed wheels."""
    workspace, path = folder / "workspace", folder / "dependencies.tar"
    wheels = workspace / "wheels"
    wheels.mkdir(parents=True)
    pinned = requirements.read(lock)
    progress(f"fetching {counted(len(pinned), 'wheel')}")
    requirements.fetch(lock, wheels, sources)
    (workspace / "requirements.txt").write_bytes(requirements.write(pinned))
    _hand_over(workspace)
    progress(f"installing them without a network ({engine.name})")
    with engine.start(Spec(base, workspace, BOUNDS, f"derive-{secrets.token_hex(4)}")) as sandbox:
        _install(sandbox, empty=not pinned)
    with path.open("wb") as out:
        digest = layers.write(_harvest(workspace / _ROOT), out)
    remove(workspace)
    return digest, path


def _hand_over(workspace: Path) -> None:
    """Give the workspace to the account of the sandbox; without root it already is the sandbox's own."""
    if os.geteuid() == 0:
        for parent, folders, files in os.walk(workspace):
            os.chown(parent, UID, UID)
            for name in (*folders, *files):
                os.chown(Path(parent) / name, UID, UID, follow_symlinks=False)


def _install(sandbox: Sandbox, *, empty: bool) -> None:
    root = f"{WORKSPACE}/{_ROOT}"
    if empty:
        _run(sandbox, ["mkdir", "-p", f"{root}/{_PACKAGES}"])
        return
    pip = [_PYTHON, "-m", "pip"]
    options = ["--no-index", f"--find-links={WORKSPACE}/wheels", "--no-deps", "--require-hashes", "--ignore-installed"]
    quiet = ["--quiet", "--no-compile", "--no-warn-script-location", "--no-cache-dir"]
    _run(sandbox, [*pip, "install", *options, *quiet, f"--root={root}", "-r", f"{WORKSPACE}/requirements.txt"])
    path = {"PYTHONPATH": f"{root}/{_PACKAGES}"}
    _run(sandbox, [*pip, "check"], env=path, why="the locked packages do not fit together")
    compiled = ["-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash", "-s", root, "-p", "/"]
    # Files that are no Python of this version (templates, data) do not compile, which is no error.
    sandbox.run([_PYTHON, *compiled, f"{root}/{_PREFIX}lib"], seconds=_SECONDS, env={"PYTHONDONTWRITEBYTECODE": ""})


def _run(
    sandbox: Sandbox, argv: list[str], env: dict[str, str] | None = None, why: str = "the wheels cannot be installed"
) -> None:
    done = sandbox.run(argv, seconds=_SECONDS, env=env)
    if done.code != 0:
        said = done.output.decode("utf-8", "backslashreplace").strip()
        ended = "ran out of time" if done.timed_out else f"exit {done.code}"
        raise UsageError(
            f"{why} ({ended}): {said[-1500:]}",
            hint="name other versions in the requirements files; `agent-pipeline image build project` locks them",
        )


def _harvest(root: Path) -> Iterator[Entry]:
    """Yield what a dead sandbox left below `root`. Raises `RejectedError` for what no wheel may install."""
    found, todo = 0, [(root, 0)]
    while todo:
        folder, depth = todo.pop()
        for item in sorted(os.scandir(folder), key=lambda entry: entry.name):
            path = Path(item.path)
            relative, found = path.relative_to(root).as_posix(), found + 1
            info = item.stat(follow_symlinks=False)
            if found > layers.MAX_ENTRIES or depth > _MAX_DEPTH:
                raise RejectedError("the wheels install more files than an image may have")
            if stat.S_ISDIR(info.st_mode):
                todo.append((path, depth + 1))
            elif not relative.startswith(_PREFIX) or not stat.S_ISREG(info.st_mode):
                raise RejectedError(
                    f"a wheel installs {relative!r}, which is outside /{_PREFIX} or no plain file"[:300]
                )
            else:
                if relative.startswith(f"{_PREFIX}bin/"):
                    _check_script(relative, path)
                yield Entry(relative, FILE, bool(info.st_mode & 0o111), file=path, size=info.st_size)


def _check_script(path: str, file: Path) -> None:
    """A console script starts with the images' Python, or it would not run there."""
    with layers.open_plain(file) as script:
        first = script.readline(_MAX_FIRST_LINE).rstrip(b"\n")
    if first.startswith(b"#!") and b"python" in first and first != b"#!" + _PYTHON.encode():
        raise RejectedError(f"{path} starts with {first[:100]!r}, which is not the image's Python")
