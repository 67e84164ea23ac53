"""The store: images appear whole or not at all, and only under the digest of their configuration."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest
from support import images

from agent_pipeline.documents import strict
from agent_pipeline.documents.images_lock import LockedImage
from agent_pipeline.errors import SandboxError, SchemaError, StorageError
from agent_pipeline.sandbox.images import identity, recipe
from agent_pipeline.sandbox.images.layers import FILE, Entry
from agent_pipeline.sandbox.images.store import Store, verified

A, B = [Entry("usr/a", FILE, content=b"1")], [Entry("usr/b", FILE, content=b"2")]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(images.config(tmp_path))


def test_an_image_is_found_by_the_digest_of_its_configuration(store: Store) -> None:
    image = images.add(store, A, B)
    assert strict.sha256((image.folder / "config.json").read_bytes()) == image.identity
    assert store.get(image.identity) == image
    assert [path.name for path in verified(image)] == [
        f"{layer}.tar" for layer in identity.read((image.folder / "config.json").read_bytes()).layers
    ]


def test_the_same_content_is_the_same_image(tmp_path: Path) -> None:
    one, two = Store(images.config(tmp_path / "1")), Store(images.config(tmp_path / "2"))
    assert images.add(one, A, B).identity == images.add(two, A, B).identity
    assert images.add(one, A, B).identity != images.add(two, B, A).identity
    assert images.add(one, A, name="x").identity != images.add(two, A, name="y").identity


def test_images_are_listed_with_what_is_known_of_them(store: Store) -> None:
    base = images.add(store, A)
    derived = images.add(store, A, B, name="project", base=base.identity)
    listed = {image.identity: image for image in store.list()}
    assert set(listed) == {base.identity, derived.identity}
    assert listed[derived.identity].base == base.identity
    assert listed[base.identity].packages == {"tiny": "1.0"}
    assert listed[derived.identity].bytes > listed[base.identity].bytes > 0


def test_shared_layers_are_one_file(store: Store) -> None:
    first = images.add(store, A)
    layer = next((first.folder / "layers").iterdir())
    with store.staging() as folder:
        other = folder / "other.tar"
        with other.open("wb") as file:
            second_digest = __import__("agent_pipeline.sandbox.images.layers", fromlist=["write"]).write(B, file)
        facts = identity.Facts("two", (layer.stem, second_digest), {}, None, None)
        config = identity.configuration(recipe.load("python").recipe, facts)
        second = store.add(config, {layer.stem: layer, second_digest: other})
    assert (second.folder / "layers" / layer.name).samefile(layer)


def test_what_is_not_whole_is_not_there_and_is_made_again(store: Store) -> None:
    image = images.add(store, A)
    layer = next((image.folder / "layers").iterdir())
    layer.unlink()
    assert store.get(image.identity) is None
    assert store.list() == ()
    assert images.add(store, A) == image
    assert store.get(image.identity) == image


def test_a_changed_configuration_is_no_image(store: Store) -> None:
    image = images.add(store, A)
    config = image.folder / "config.json"
    config.write_bytes(config.read_bytes().replace(b"10001:10001", b"00000:00000"))
    assert store.get(image.identity) is None


def test_a_changed_layer_is_noticed_before_it_is_used(store: Store) -> None:
    image = images.add(store, A)
    layer = next((image.folder / "layers").iterdir())
    layer.chmod(0o644)
    with layer.open("wb") as file:
        __import__("agent_pipeline.sandbox.images.layers", fromlist=["write"]).write(B, file)
    with pytest.raises(SandboxError, match="changed on disk"):
        list(verified(image))


def test_a_missing_image_is_named_with_what_to_do(store: Store) -> None:
    other = images.add(store, A, name="python")
    with pytest.raises(SandboxError, match=f"(?s)python, sha256:{'f' * 12}.*{other.identity[:12]}") as caught:
        store.require("python", LockedImage("f" * 64, {}))
    assert caught.value.hint is not None
    assert "image build python" in caught.value.hint
    with pytest.raises(SandboxError) as caught:
        store.require("project", LockedImage("f" * 64, {}, base="e" * 64))
    assert caught.value.hint is not None
    assert "image import" in caught.value.hint


def test_an_interrupt_leaves_nothing(store: Store) -> None:
    def interrupted() -> None:
        with store.staging() as folder:
            (folder / "half").write_bytes(b"x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path for path in store.folder.iterdir() if path.is_dir()] == []


def test_what_a_dead_writer_left_is_swept_and_a_living_one_is_not(store: Store) -> None:
    with store.staging() as alive:
        dead = store.folder / ".staging-dead"
        (dead / "read-only").mkdir(parents=True)
        (dead / "read-only").chmod(0o555)
        (dead / ".lock").write_bytes(b"")
        with store.staging():
            assert not dead.exists()
            assert alive.is_dir()


def test_writers_take_turns_and_say_that_they_wait(store: Store) -> None:
    said: list[str] = []
    done = threading.Event()
    with store.turn("thing", said.append):
        waiting = threading.Thread(target=lambda: _hold(store, said, done))
        waiting.start()
        assert not done.wait(0.3)
    waiting.join(timeout=5)
    assert done.is_set()
    assert said == ["another process is making thing: waiting for it"]


def _hold(store: Store, said: list[str], done: threading.Event) -> None:
    with store.turn("thing", said.append):
        done.set()


def test_a_store_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file where a directory should be")
    with pytest.raises(StorageError) as caught, Store(images.config(tmp_path)).staging():
        pytest.fail("nothing can be staged in a file")
    assert str(tmp_path) in caught.value.message


def test_locks_are_not_inherited(store: Store) -> None:
    with store.staging() as folder:
        descriptor = os.open(folder / ".lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"os":"linux"', b'"os":"plan9"'),
        (b'"created":"1970-01-01T00:00:00Z"', b'"created":"2026-01-01T00:00:00Z"'),
        (b'"config":{', b'"config":{"Entrypoint":["/bin/sh"],'),
        (b'"config":{', b'"config":{"Volumes":{"/":{}},'),
        (b'"rootfs":{', b'"rootfs":{"extra":1,'),
        (b"sha256:", b"sha512:"),
        (b'"architecture":"', b'"architecture":"x'),
        (b'"type":"layers"', b'"type":"layer"'),
        (b'"dev.agent-pipeline.name":"small"', b'"dev.agent-pipeline.name":""'),
        (b"{", b" {"),
        (b"}", b""),
    ],
)
def test_only_configurations_of_our_form_are_read(store: Store, old: bytes, new: bytes) -> None:
    config = (images.add(store, A).folder / "config.json").read_bytes()
    assert old in config
    identity.read(config)
    with pytest.raises(SchemaError):
        identity.read(config.replace(old, new, 1))
