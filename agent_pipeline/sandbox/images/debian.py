"""Bootstrapping Debian's packages with mmdebstrap, in a directory and in namespaces that vanish with it.

As root in a mount and PID namespace of its own, so that nothing outlives an interrupt; otherwise in a user namespace
(`/etc/subuid`). Package versions are pinned to the locked ones where the mirror still has them.
"""

from __future__ import annotations

import os
import shlex
import signal
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from agent_pipeline import clock, process
from agent_pipeline.documents.image_recipe import ImageRecipe
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox.images.layers import EPOCH

Progress = Callable[[str], None]
SECONDS: Final = 1800
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_NETWORK: Final = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_EXCLUDED: Final = ("man", "locale", "info", "lintian", "groff")
_GRACE: Final = 10


def bootstrap(recipe: ImageRecipe, pins: Mapping[str, str], folder: Path, progress: Progress) -> Path:
    """Make a root file system of the recipe's packages as a tar archive in `folder`, an empty directory that is ours.

    Raises `SandboxError` when the packages cannot be had, saying why.
    """
    if process.which("mmdebstrap") is None:
        raise SandboxError(
            "mmdebstrap is not installed, which makes images from Debian's packages",
            hint="`apt-get install mmdebstrap` as root, or `agent-pipeline image import FILE` with an exported image",
        )
    target = folder / "rootfs.tar"
    preferences = folder / "preferences"
    preferences.write_text(
        "".join(f"Package: {name}\nPin: version {pins[name]}\nPin-Priority: 1001\n\n" for name in sorted(pins)),
        encoding="utf-8",
    )
    progress(f"bootstrapping Debian {recipe.suite}: {', '.join(recipe.packages)}")
    _stream([*_outer(), *_command(recipe, preferences, target)], folder, progress)
    return target


def _outer() -> list[str]:
    """Return what goes before mmdebstrap: when we die it ends, as root at once with all its mounts and processes."""
    if os.geteuid() == 0:
        return ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]
    return ["setpriv", "--pdeathsig", "TERM"]  # it cleans up after itself once its present stage is over


def _command(recipe: ImageRecipe, preferences: Path, target: Path) -> list[str]:
    mode = "root" if os.geteuid() == 0 else "unshare"
    compiled = " ".join(shlex.quote(f"/{path}") for path in recipe.compile)
    # Compiled anew from fixed seeds and without times, so that the same sources are the same bytes.
    fresh = 'find "$1/usr" -name __pycache__ -prune -exec rm -rf {} +'
    compile_all = (
        f'chroot "$1" env PYTHONHASHSEED=0 python3 -m compileall -q -f --invalidation-mode unchecked-hash {compiled}'
    )
    return [
        "mmdebstrap",
        f"--mode={mode}",
        "--format=tar",
        "--variant=essential",
        *([f"--keyring={_KEYRING}"] if _KEYRING.exists() else []),
        f"--include={','.join(recipe.packages)}",
        '--aptopt=Apt::Install-Recommends "false"',
        '--aptopt=Acquire::Languages "none"',
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _EXCLUDED),
        f"--setup-hook=upload {shlex.quote(str(preferences))} /etc/apt/preferences.d/locked",
        f"--customize-hook={fresh}",
        *([f"--customize-hook={compile_all}"] if compiled else []),
        recipe.suite,
        str(target),
        *_mirrors(recipe.suite),
    ]


def _mirrors(suite: str) -> list[str]:
    """Return the host's own sources of that suite if it is a Debian; otherwise mmdebstrap knows where to look."""
    if process.which("apt-get") is None:
        return []
    fields = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    asked = process.run(
        ["apt-get", "indextargets", "--format", fields, "Created-By: Packages", "Origin: Debian"],
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
    )
    found = [line.split() for line in asked.stdout.decode("utf-8", "replace").splitlines()] if asked.ok else []
    sources = [
        (uri, release, component)
        for uri, release, component in (line for line in found if len(line) == len(fields.split()))
        if uri.startswith(("http://", "https://")) and release.startswith(suite) and not release.endswith("-backports")
    ]
    if not any(release == suite for _, release, _ in sources):
        return []
    signed = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
    return list(dict.fromkeys(f"deb {signed}{uri} {release} {component}" for uri, release, component in sources))


def _stream(argv: list[str], folder: Path, progress: Progress) -> None:
    """Run to the end, passing on mmdebstrap's stages; whatever happens, nothing of it runs afterwards."""
    env = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": "/nonexistent",
        # Without root it works as other users, who may not come through the caller's home directory.
        "TMPDIR": str(folder) if os.geteuid() == 0 else tempfile.gettempdir(),
        "SOURCE_DATE_EPOCH": str(EPOCH),
        **process.inherited(*_NETWORK),
    }
    child = process.spawn(argv, env=env, cwd=Path("/"), stderr=True)
    assert child.stdin is not None and child.stdout is not None and child.stderr is not None  # noqa: S101, PT018
    child.stdin.close()
    timer = threading.Timer(SECONDS, process.kill_group, [child])
    timer.start()
    said: list[str] = []
    try:
        for raw in child.stderr:
            line = raw.decode("utf-8", "replace").strip()
            said = [*said[-40:], line]
            if line.startswith("I: ") and line.endswith("...") and "/" not in line:
                progress(f"  {line[3:]}")
        child.wait()
    finally:
        timer.cancel()
        _end(child)
    if child.returncode != 0:
        why = [line for line in said if not line.startswith("I: ")]
        raise SandboxError(
            f"mmdebstrap could not make the image (exit {child.returncode}): " + "\n".join(why[-8:]),
            hint="is a Debian mirror reachable from here? Or import an image: `agent-pipeline image import FILE`",
        )


def _end(child: process.Process) -> None:
    """Ask the whole group to stop and clean up after itself, then make sure."""
    deadline = clock.monotonic() + _GRACE
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGTERM)
    while child.poll() is None and clock.monotonic() < deadline:
        clock.sleep(0.05)
    process.kill_group(child)
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()
