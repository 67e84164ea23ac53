"""Unpacked images: once, whole, readable by everybody, writable by nobody."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from support import images

from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox.images import unpack
from agent_pipeline.sandbox.images.layers import DIRECTORY, EPOCH, FILE, LINK, Entry
from agent_pipeline.sandbox.images.store import Store

BASE = [
    Entry("usr/bin/tool", FILE, executable=True, content=b"1"),
    Entry("etc/one", FILE, content=b"1"),
    Entry("bin", LINK, link="usr/bin"),
    Entry("escape", LINK, link="../../../../etc"),
    Entry("tmp", DIRECTORY),
]


def unpacked(tmp_path: Path, *contents: list[Entry]) -> Path:
    config = images.config(tmp_path)
    return unpack.rootfs(config, images.add(Store(config), *contents))


def test_what_is_in_the_layers_is_there(tmp_path: Path) -> None:
    root = unpacked(tmp_path, BASE)
    assert (root / "usr/bin/tool").read_bytes() == b"1"
    assert (root / "bin").readlink() == Path("usr/bin")
    assert (root / "escape").readlink() == Path("../../../../etc")
    assert (root / "etc/one").stat().st_mtime == EPOCH
    assert sorted(path.name for path in root.iterdir()) == ["bin", "escape", "etc", "tmp", "usr"]


def test_everybody_may_read_and_nobody_may_write(tmp_path: Path) -> None:
    root = unpacked(tmp_path, BASE)
    for path in (root, *root.rglob("*")):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode):
            assert mode & 0o7222 == 0, path
            assert mode & 0o444 == 0o444, path
    assert (root / "usr/bin/tool").stat().st_mode & 0o777 == 0o555
    for parent in (root, *root.relative_to(tmp_path).parents):
        assert (tmp_path / parent).stat().st_mode & 0o005 or parent == Path()


def test_an_upper_layer_replaces_files_and_links(tmp_path: Path) -> None:
    upper = [Entry("etc/one", FILE, content=b"2"), Entry("escape", FILE, content=b"3"), Entry("etc/two", FILE)]
    root = unpacked(tmp_path, BASE, upper)
    assert (root / "etc/one").read_bytes() == b"2"
    assert (root / "escape").read_bytes() == b"3"
    assert not (root / "escape").is_symlink()


@pytest.mark.parametrize(
    "upper",
    [
        [Entry("bin/tool", FILE, content=b"through a link of a lower layer")],
        [Entry("escape/passwd", FILE, content=b"out of the directory")],
        [Entry("usr", LINK, link="/")],
        [Entry("usr/bin", FILE)],
    ],
)
def test_an_upper_layer_never_goes_through_a_link_or_away_with_a_directory(tmp_path: Path, upper: list[Entry]) -> None:
    before = sorted(Path("/etc").iterdir())
    with pytest.raises(Exception, match="layer"):
        unpacked(tmp_path, BASE, upper)
    assert sorted(Path("/etc").iterdir()) == before
    folder = tmp_path / "cache" / "rootfs"
    assert not folder.exists() or [path for path in folder.iterdir() if path.is_dir()] == []


def test_it_is_made_once(tmp_path: Path) -> None:
    config = images.config(tmp_path)
    image = images.add(Store(config), BASE)
    first = unpack.rootfs(config, image)
    inode = first.stat().st_ino
    assert unpack.rootfs(config, image).stat().st_ino == inode


def test_what_an_interrupt_left_is_removed(tmp_path: Path) -> None:
    config = images.config(tmp_path)
    left = config.cache_dir / "rootfs" / ".unpacking-old"
    (left / "usr").mkdir(parents=True)
    (left / "usr").chmod(0o555)
    unpack.rootfs(config, images.add(Store(config), BASE))
    assert not left.exists()


def test_a_damaged_layer_is_not_unpacked(tmp_path: Path) -> None:
    config = images.config(tmp_path)
    image = images.add(Store(config), BASE)
    layer = next((image.folder / "layers").iterdir())
    layer.chmod(0o644)
    data = layer.read_bytes()
    layer.write_bytes(data.replace(b"tool", b"evil"))
    with pytest.raises(SandboxError, match="changed on disk"):
        unpack.rootfs(config, image)
    assert [path for path in (config.cache_dir / "rootfs").iterdir() if path.is_dir()] == []
