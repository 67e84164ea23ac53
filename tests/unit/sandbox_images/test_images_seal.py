"""An unpacked image is looked at before each start: whatever is changed in it is refused, and named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import images

from agent_pipeline.config import Config
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images import eviction, seal, unpack
from agent_pipeline.sandbox.images.layers import DIRECTORY, FILE, LINK, Entry
from agent_pipeline.sandbox.images.store import Store

BASE = [
    Entry("usr/bin/tool", FILE, executable=True, content=b"1" * 100),
    Entry("etc/one", FILE, content=b"1"),
    Entry("bin", LINK, link="usr/bin"),
    Entry("tmp", DIRECTORY),
]
UPPER = [Entry("etc/one", FILE, content=b"2")]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return images.config(tmp_path)


@pytest.fixture
def image(config: Config) -> Image:
    return images.add(Store(config), BASE, UPPER)


def writable(path: Path) -> Path:
    for folder in (path.parent, path):
        if not folder.is_symlink() and folder.exists():
            folder.chmod(0o755)
    return path


def flip(root: Path) -> None:
    """One bit of a file, with the size and the modification time that it had."""
    tool = writable(root / "usr/bin/tool")
    before = tool.stat()
    tool.write_bytes(b"1" * 50 + b"0" + b"1" * 49)
    os.utime(tool, ns=(before.st_atime_ns, before.st_mtime_ns))
    tool.chmod(0o555)
    tool.parent.chmod(0o555)


def swap_link(root: Path) -> None:
    """A file becomes a link to the same bytes elsewhere."""
    one = writable(root / "etc/one")
    one.rename(root.parent / "moved")
    one.symlink_to(root.parent / "moved")
    one.parent.chmod(0o555)


def point_elsewhere(root: Path) -> None:
    writable(root / "bin")
    (root / "bin").unlink()
    (root / "bin").symlink_to("/tmp")
    root.chmod(0o555)


def add_file(root: Path) -> None:
    writable(root / "etc/two").write_bytes(b"")
    (root / "etc").chmod(0o555)


def take_away(root: Path) -> None:
    writable(root / "etc/one").unlink()
    (root / "etc").chmod(0o555)


def set_mode(root: Path) -> None:
    (root / "usr/bin/tool").chmod(0o4755)


def open_folder(root: Path) -> None:
    (root / "etc").chmod(0o777)


CHANGES = {
    flip: "usr/bin/tool",
    swap_link: "etc/one",
    point_elsewhere: "bin",
    add_file: "etc/two",
    take_away: "etc/one",
    set_mode: "usr/bin/tool",
    open_folder: "etc",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_was_changed_is_refused_and_named(change: Callable[[Path], None], config: Config, image: Image) -> None:
    root = unpack.rootfs(config, image)
    assert unpack.rootfs(config, image) == root
    change(root)
    for _ in range(2):
        with pytest.raises(SandboxError, match=f"changed on disk: {root / CHANGES[change]}") as caught:
            unpack.rootfs(config, image)
        assert caught.value.hint is not None
        assert f"rm -r {root}" in caught.value.hint


def test_a_link_in_place_of_the_tree_is_refused(config: Config, image: Image) -> None:
    root = unpack.rootfs(config, image)
    root.chmod(0o755)
    root.rename(root.with_name("moved"))
    root.symlink_to(root.with_name("moved"))
    with pytest.raises(SandboxError, match="is no directory of yours"):
        unpack.rootfs(config, image)


def test_a_tree_that_was_moved_with_its_bytes_is_read_and_sealed_anew(config: Config, image: Image) -> None:
    root = unpack.rootfs(config, image)
    before = seal.read(root)
    copy = root.with_name("copy")
    shutil.copytree(root, copy, symlinks=True)
    eviction.drop(root)
    copy.chmod(0o755)
    copy.rename(root)
    root.chmod(0o555)
    assert unpack.rootfs(config, image) == root
    assert seal.read(root) not in (before, None)
    assert seal.read(root) == seal.compute(root)


@pytest.mark.parametrize("kept", [b"", b"{}", b'{"bytes":1,"digest":1}', b"[]", b"\xff", b"x" * 10000])
def test_a_seal_that_is_none_is_made_again_from_the_bytes(kept: bytes, config: Config, image: Image) -> None:
    root = unpack.rootfs(config, image)
    seal.path_of(root).write_bytes(kept)
    assert unpack.rootfs(config, image) == root
    assert seal.read(root) == seal.compute(root)
    flip(root)
    seal.path_of(root).write_bytes(kept)
    with pytest.raises(SandboxError, match="changed on disk"):
        unpack.rootfs(config, image)


def old(tree: Path) -> None:
    os.utime(seal.path_of(tree), (1, 1))


def test_unpacked_images_are_bounded_and_the_longest_unused_goes_first(config: Config) -> None:
    store = Store(config)
    made = [images.add(store, [Entry("usr/x", FILE, content=bytes([n]))]) for n in range(eviction.KEPT + 2)]
    trees = [unpack.rootfs(config, image) for image in made]
    assert all(tree.is_dir() for tree in trees), "what was used lately stays"
    for tree in trees[:4]:
        old(tree)
    os.utime(seal.path_of(trees[0]), (9, 9))  # of the old ones the one that was used last
    unpack.rootfs(config, images.add(store, BASE))
    assert [tree.is_dir() for tree in trees] == [True, False, False, False] + [True] * (eviction.KEPT - 2)
    assert sorted(path.name for path in trees[0].parent.glob(f"*{seal.SUFFIX}")) == sorted(
        f"{path.name}{seal.SUFFIX}" for path in trees[0].parent.iterdir() if path.is_dir()
    )


def test_the_tree_of_an_image_that_is_gone_goes_and_one_that_is_mounted_stays(config: Config) -> None:
    store = Store(config)
    gone, held = (images.add(store, [Entry("usr/x", FILE, content=text)]) for text in (b"gone", b"held"))
    trees = [unpack.rootfs(config, image) for image in (gone, held)]
    for image in (gone, held):
        shutil.rmtree(image.folder)
    for tree in trees:
        old(tree)
    script = "import os; print('up', flush=True); os.read(0, 1)"
    rootless = [] if os.geteuid() == 0 else ["--map-root-user"]
    mount = f'mount --bind {trees[1]}/usr /mnt && exec {sys.executable} -c "{script}"'
    holder = subprocess.Popen(
        ["unshare", "--mount", *rootless, "sh", "-c", mount], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    try:
        assert holder.stdout.readline() == b"up\n"
        unpack.rootfs(config, images.add(store, BASE))
        assert [tree.is_dir() for tree in trees] == [False, True]
    finally:
        holder.stdin.close()
        holder.wait(timeout=10)
        holder.stdout.close()
    unpack.rootfs(config, images.add(store, UPPER))
    assert not trees[1].is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to give something to somebody else")
def test_a_tree_or_a_seal_of_somebody_else_is_not_believed(config: Config, image: Image) -> None:
    root = unpack.rootfs(config, image)
    os.chown(seal.path_of(root), 12345, 12345)
    assert seal.read(root) is None
    assert unpack.rootfs(config, image) == root  # read, and sealed anew
    assert seal.path_of(root).stat().st_uid == 0
    for path in (root, seal.path_of(root)):
        os.chown(path, 12345, 12345)
    with pytest.raises(SandboxError, match="no directory of yours or root's"):
        unpack.rootfs(config, image)
