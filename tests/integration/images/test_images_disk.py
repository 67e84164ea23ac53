"""A full disk is said, costs nothing that was there, and leaves nothing half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import images, registry

from agent_pipeline.sandbox.images import archive
from agent_pipeline.sandbox.images.layers import FILE, Entry
from agent_pipeline.sandbox.images.store import Store

ROOT = Path(__file__).resolve().parents[3]
# In a mount namespace of its own: the small file system is gone with the process.
INSIDE = """
import sys
from pathlib import Path
from agent_pipeline import process
from agent_pipeline.config import Config
from agent_pipeline.errors import StorageError
from agent_pipeline.documents.images_lock import LockedImage
from agent_pipeline.sandbox.images import archive, unpack
from agent_pipeline.sandbox.images.registry import pull
from agent_pipeline.sandbox.images.store import Store

small, file, step = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
size = {"load": "2m", "pull": "2m", "unpack": "6m", "export": "6m"}[step]
mounted = process.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(small)], env={"PATH": "/usr/bin:/bin"})
assert mounted.ok, mounted.explain()
config = Config(small, small, small, None, None, None, None)
try:
    if step == "pull":
        pull.locked_pull(Store(config), LockedImage(sys.argv[5], {}, registry=sys.argv[4]), print, "nothing")
    image = archive.load(config, file)
    assert step not in ("load", "pull")
    if step == "unpack":
        unpack.rootfs(config, image)
    else:
        archive.export(config, image.identity, small / "out.tar")
except StorageError as error:
    left = [str(path) for path in small.rglob("*") if path.name.startswith((".staging", ".unpacking", ".out"))]
    print(error.exit_code, left, len(Store(config).list()), "space" in error.message)
"""


@pytest.mark.parametrize(("step", "kept"), [("load", 0), ("pull", 0), ("unpack", 1), ("export", 1)])
def test_a_full_disk(tmp_path: Path, step: str, kept: int) -> None:
    config = images.config(tmp_path)
    image = images.add(Store(config), [Entry("usr/large", FILE, content=os.urandom(4 << 20))])
    file, small = tmp_path / "image.tar", tmp_path / "small"
    archive.export(config, image.identity, file)
    small.mkdir()
    rootless = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", "--mount", *rootless, sys.executable, "-c", INSIDE, str(small), str(file), step]
    with registry.simulated() as simulated:
        there = simulated.add(image)
        done = subprocess.run(
            [*command, there, image.identity], check=False, capture_output=True, text=True, cwd=ROOT, timeout=60
        )
    assert (f"pulling {there}\n" in done.stdout) == (step == "pull")
    assert done.stdout.splitlines(keepends=True)[-1] == f"3 [] {kept} True\n", done.stderr
    assert list(small.iterdir()) == []
