"""A real registry (Debian's `docker-registry`), with and without the Docker engine: the same bytes on both ways."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from support import images, registry
from support.people import Person, project

from agent_pipeline.documents.images_lock import PATH, ImagesLock, LockedImage
from agent_pipeline.errors import UnavailableError
from agent_pipeline.sandbox import layout
from agent_pipeline.sandbox.contract import Bounds, Engine, Image, Spec
from agent_pipeline.sandbox.images import build, docker_load, recipe
from agent_pipeline.sandbox.images.layers import FILE, Entry
from agent_pipeline.sandbox.images.registry.pull import pull
from agent_pipeline.sandbox.images.registry.push import push
from agent_pipeline.sandbox.images.registry.reference import parse
from agent_pipeline.sandbox.images.store import Store

pytestmark = pytest.mark.containers
USER = ("alice", "correct horse:battery")


def silent(_: str) -> None:
    """Progress that nobody looks at."""


@pytest.fixture(autouse=True)
def own_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "registry"
    folder.mkdir()
    with registry.real(folder) as host:
        yield host


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


def small(tmp_path: Path) -> Image:
    content = str(tmp_path).encode()
    return images.add(Store(images.config(tmp_path)), [Entry("usr/x", FILE, content=content)], [Entry("usr/y", FILE)])


def test_both_engines_run_what_was_pulled(engine: Engine, base: Image, cache: Path, host: str) -> None:
    lines: list[str] = []
    there = push(base, parse(f"{host}/team/base:1"), lines.append)
    assert push(base, parse(f"{host}/team/base:2"), lines.append) == there
    assert sum("sending" in line for line in lines) == 2
    assert sum("is there" in line for line in lines) == 2

    config = images.config(cache / f"pulled-{engine.name}")
    pulled = pull(Store(config), there, base.identity, silent)
    assert pulled.identity == base.identity
    workspace = cache / f"workspace-{engine.name}"
    workspace.mkdir()
    if os.geteuid() == 0:
        os.chown(workspace, layout.owner(), layout.group())
    bounds = Bounds(memory_mb=512, pids=64, cpus="1", disk_mb=64, seconds=60)
    with engine.start(Spec(pulled, workspace, bounds, "test-pulled")) as sandbox:
        done = sandbox.run(["python", "-c", "print(6 * 7)"], seconds=30)
    assert (done.code, done.output) == (0, b"42\n")


def test_the_docker_engine_reads_what_we_push_and_we_what_it_pushes(
    client: docker.DockerClient, tmp_path: Path, host: str
) -> None:
    image, store = small(tmp_path), Store(images.config(tmp_path / "elsewhere"))
    try:
        client.images.get(docker_load.ensure(client, image)).tag(f"{host}/team/packed", "1")
        pushed = [json.loads(line) for line in client.images.push(f"{host}/team/packed", tag="1").splitlines()]
        digest = next(line["aux"]["Digest"] for line in pushed if "aux" in line)
        client.images.remove(f"sha256:{image.identity}", force=True)
        assert pull(store, parse(f"{host}/team/packed@{digest}"), image.identity, silent).identity == image.identity

        there = push(image, parse(f"{host}/team/small"), silent)
        assert digest != f"sha256:{there.digest}"  # its layers are packed
        taken = client.images.pull(f"{host}/team/small@sha256:{there.digest}")
        assert taken.id == f"sha256:{image.identity}"
    finally:
        with contextlib.suppress(docker.errors.ImageNotFound):
            client.images.remove(f"sha256:{image.identity}", force=True)


def test_a_real_registry_wants_the_password(tmp_path: Path) -> None:
    folder, image = tmp_path / "registry", small(tmp_path)
    folder.mkdir()
    with registry.real(folder, USER) as host:
        with pytest.raises(UnavailableError, match="refuses without credentials"):
            push(image, parse(f"{host}/team/small"), silent)
        registry.log_in(tmp_path / "docker", host, USER)
        there = push(image, parse(f"{host}/team/small"), silent)
        pull(Store(images.config(tmp_path / "elsewhere")), there, image.identity, silent)
    assert USER[1].encode() not in (folder / "log.txt").read_bytes()


def test_an_interrupted_push_leaves_no_image_and_is_repeated(tmp_path: Path, host: str) -> None:
    image, seen = small(tmp_path), list[str]()

    def interrupt(line: str) -> None:
        seen.append(line)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push(image, parse(f"{host}/team/small"), interrupt)
    assert not list((tmp_path / "registry").rglob("_manifests"))
    there = push(image, parse(f"{host}/team/small"), silent)
    pull(Store(images.config(tmp_path / "elsewhere")), there, image.identity, silent)


def test_a_damaged_blob_in_the_registry_is_refused_and_not_kept(tmp_path: Path, host: str) -> None:
    image = small(tmp_path)
    there = push(image, parse(f"{host}/team/small"), silent)
    layer = max((tmp_path / "registry" / "data").rglob("data"), key=lambda path: path.stat().st_size)
    layer.write_bytes(layer.read_bytes().replace(b"usr/", b"etc/"))
    store = Store(images.config(tmp_path / "elsewhere"))
    with pytest.raises(Exception, match=r"as the blob|cut off"):
        pull(store, there, image.identity, silent)
    assert store.list() == ()


def test_a_team_pushes_once_and_pulls_what_the_lock_names(tmp_path: Path, host: str) -> None:
    """The command line: push with --lock on one machine, pull without arguments on another."""
    alice = Person("alice", tmp_path / "home", tmp_path / "clone", {"AGENT_PIPELINE_CACHE": str(tmp_path / "cache")})
    project(alice)
    image = small(tmp_path)
    lock = alice.clone / PATH
    lock.parent.mkdir()
    entry = LockedImage(image.identity, {"tiny": "1.0"}, "0" * 64, "1" * 64)
    lock.write_bytes(ImagesLock(1, {"project": entry}).to_json())
    nowhere = alice.run("image", "pull")
    assert nowhere.code == 2
    assert "names no registry" in nowhere.err

    done = alice.yes("image", "push", "small", f"{host}/team/small", "--lock")
    assert done["files"] == [PATH]
    noted = ImagesLock.from_json(lock.read_bytes()).images["project"]
    assert noted.registry == done["reference"] == f"{host}/team/small@sha256:{parse(done['reference']).digest}"
    assert alice.yes("image", "push", "small", f"{host}/team/small", "--lock")["files"] == []
    assert alice.run("image", "push", "small", f"{host}/team/small@sha256:{'a' * 64}").code == 2

    cache = tmp_path / "other-machine"
    bob = Person("bob", tmp_path / "home-of-bob", alice.clone, {"AGENT_PIPELINE_CACHE": str(cache)})
    assert [row["identity"] for row in bob.yes("image", "pull")["images"]] == [image.identity]
    assert [row["identity"] for row in bob.yes("image", "list")["images"]] == [image.identity]
    assert bob.yes("image", "pull", done["reference"])["images"][0]["name"] == "small"
    lock.write_bytes(lock.read_bytes().replace(image.identity.encode(), b"f" * 64))
    refused = bob.run("image", "pull")
    assert refused.code == 1
    assert "the lock has ffffffffffff" in refused.err


def test_a_base_comes_from_where_its_lock_says(tmp_path: Path, host: str, base: Image) -> None:
    """A machine that has neither image nor mirror takes it from the registry."""
    there, lines = str(push(base, parse(f"{host}/team/base"), silent)), list[str]()
    other = images.config(tmp_path / "other")
    locked = LockedImage(base.identity, {"tiny": "1.0"}, registry=there)
    assert build.make(other, recipe.load("python"), locked, lines.append) == locked
    assert not any("bootstrapping" in line for line in lines)
