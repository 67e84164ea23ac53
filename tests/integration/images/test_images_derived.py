"""A project's dependencies in an image: the same bytes from both engines, and nothing of them runs with a network."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
from pathlib import Path

import docker
import pytest
from support import images

from agent_pipeline.config import Config
from agent_pipeline.documents import strict
from agent_pipeline.documents.images_lock import ImagesLock, LockedImage
from agent_pipeline.errors import SandboxError, UsageError
from agent_pipeline.sandbox import engines, layout
from agent_pipeline.sandbox.contract import Bounds, Engine, Image, Spec
from agent_pipeline.sandbox.images import archive, derive, requirements, sources
from agent_pipeline.sandbox.images.store import Store

pytestmark = [pytest.mark.containers, pytest.mark.usefixtures("own_index")]

APP = images.wheel(
    "app",
    requires=["lib>=2"],
    files={
        "app/__init__.py": b"import lib\n\ndef main():\n    print('lib', lib.VALUE)\n",
        "app-1.0.data/data/share/app.txt": b"data",
        "app-1.0.data/scripts/hello": b"#!python\nprint('hello')\n",
    },
    entry_points="app = app:main",
)
LIB = images.wheel("lib", "2.0")
OLD = images.wheel("lib", "1.0")


def silent(_: str) -> None:
    """Progress that nobody looks at."""


@pytest.fixture
def own_index(monkeypatch: pytest.MonkeyPatch) -> object:
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with images.index(APP, LIB, OLD) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        yield


def run(engine: Engine, image: Image, folder: Path, *argv: str) -> tuple[int | None, str]:
    workspace = folder / "workspace"
    workspace.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        os.chown(workspace, layout.owner(), layout.group())
    bounds = Bounds(memory_mb=512, pids=64, cpus="1", disk_mb=64, seconds=60)
    with engine.start(Spec(image, workspace, bounds, "test-derived")) as sandbox:
        done = sandbox.run(list(argv), seconds=30)
    return done.code, done.output.decode()


def layers_of(image: Image) -> list[str]:
    layers: list[str] = json.loads((image.folder / "config.json").read_bytes())["rootfs"]["diff_ids"]
    return layers


def test_locked_wheels_are_installed_and_run(engine: Engine, config: Config, base: Image, cache: Path) -> None:
    lock = requirements.resolve(["app"], silent)
    locked = derive.derive(config, engine, base, lock, f"derived-{engine.name}", silent)
    assert locked.base == base.identity
    assert locked.requirements == strict.sha256(lock)
    image = Store(config).require(f"derived-{engine.name}", locked)
    assert layers_of(image)[:-1] == layers_of(base)
    assert run(engine, image, cache, "app") == (0, "lib 1\n")
    assert run(engine, image, cache, "hello") == (0, "hello\n")
    assert run(engine, image, cache, "head", "-1", "/usr/local/bin/app")[1] == "#!/usr/bin/python3\n"
    assert run(engine, image, cache, "cat", "/usr/local/share/app.txt") == (0, "data")
    code, said = run(engine, image, cache, "python", "-c", "import lib; print(lib.__file__, lib.__cached__)")
    packages = "/usr/local/lib/python3.11/dist-packages/lib"
    assert (code, said.split()) == (0, [f"{packages}/__init__.py", f"{packages}/__pycache__/__init__.cpython-311.pyc"])


def test_both_engines_make_the_same_layer_and_a_lock_always_the_same_image(config: Config, base: Image) -> None:
    lock = requirements.resolve(["app"], silent)
    made = {
        name: Store(config).require(
            "x", derive.derive(config, engines.engine(name, config), base, lock, f"same-{name}", silent)
        )
        for name in engines.NAMES
    }
    assert len({tuple(layers_of(image)) for image in made.values()}) == 1
    engine = engines.engine(engines.NAMES[0], config)
    lines: list[str] = []
    again = derive.derive(config, engine, base, lock, f"same-{engine.name}", lines.append)
    assert again.identity == made[engine.name].identity
    assert lines == [f"image same-{engine.name}: sha256:{again.identity[:12]} is here"]


def test_another_party_makes_the_locked_image_from_the_lock(config: Config, base: Image) -> None:
    """The second engine plays the other party: same base, same lock, same identity, or an error."""
    lock = requirements.resolve(["lib"], silent)
    first, second = (engines.engine(name, config) for name in engines.NAMES)
    locked = derive.derive(config, first, base, lock, "project", silent)
    images_lock = ImagesLock(1, {"project": locked})
    store = Store(config)
    for layer in (store.folder / locked.identity / "layers").iterdir():
        if layer.stem not in [name.removeprefix("sha256:") for name in layers_of(base)]:
            layer.unlink()  # now it is not here any more
    assert store.get(locked.identity) is None
    assert derive.ensure(config, second, images_lock, "project", lock, silent).identity == locked.identity
    other = LockedImage("f" * 64, locked.packages, locked.base, locked.requirements)
    with pytest.raises(SandboxError, match="came out as"):
        derive.ensure(config, second, ImagesLock(1, {"project": other}), "project", lock, silent)
    wrong = LockedImage("f" * 64, {}, "e" * 64, locked.requirements)
    with pytest.raises(SandboxError, match="derives from"):
        derive.ensure(config, second, ImagesLock(1, {"project": wrong}), "project", lock, silent)
    with pytest.raises(SandboxError, match="not on this machine"):
        derive.ensure(config, second, ImagesLock(1, {"project": other}), "project", lock + b"# other\n", silent)


def test_packages_that_do_not_fit_together_are_named(engine: Engine, config: Config, base: Image) -> None:
    pins = {pin.name: pin for pin in requirements.read(requirements.resolve(["app"], silent))}
    old = requirements.read(requirements.resolve(["lib<2"], silent))[0]
    lock = requirements.write([pins["app"], old])
    with pytest.raises(UsageError, match=r"app 1\.0 has requirement lib>=2"):
        derive.derive(config, engine, base, lock, "broken", silent)
    assert all(image.name != "broken" for image in Store(config).list())


def test_no_wheel_means_no_image_and_nothing_left(config: Config, base: Image) -> None:
    engine = engines.engine(engines.NAMES[0], config)
    lock = requirements.write([requirements.Pinned("absent", "1.0", ("a" * 64,))])
    with pytest.raises(UsageError, match="absent"):
        derive.derive(config, engine, base, lock, "absent", silent)
    assert [path.name for path in config.images.glob(".staging-*")] == []


def test_nothing_to_install_is_an_image_too(engine: Engine, config: Config, base: Image) -> None:
    locked = derive.derive(config, engine, base, requirements.write([]), "nothing", silent)
    assert Store(config).get(locked.identity) is not None


SECRET = ("reader", "p4ss-w0rd-of-a-private-index")


def encodings() -> list[bytes]:
    plain = [SECRET[1], ":".join(SECRET)]
    return [
        form.rstrip(b"=")
        for text in plain
        for form in (text.encode(), base64.b64encode(text.encode()), text.encode().hex().encode(), text[::-1].encode())
    ]


def test_a_secret_makes_the_same_image_and_is_nowhere(
    config: Config,
    base: Image,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """From a private index and from a directory: one identity; the secret is in no layer, log, state or cache."""
    docker_engine = engines.engine("docker", config)
    file = tmp_path / "password"
    file.write_text(":".join(SECRET))
    file.chmod(0o600)
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip-cache"))
    monkeypatch.setenv("PIP_TRUSTED_HOST", "127.0.0.1")  # what comes from there in plain HTTP pip would keep
    lines: list[str] = []
    with images.index(APP, LIB, user=SECRET) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        given = sources.sources((f"127.0.0.1={file}",), None)
        lock = requirements.resolve(["app"], lines.append, given)
        locked = derive.derive(config, docker_engine, base, lock, "private", lines.append, given)
    image = Store(config).require("private", locked)
    assert run(docker_engine, image, tmp_path, "app") == (0, "lib 1\n")

    words = encodings()
    file.unlink()
    archive.export(config, image.identity, tmp_path / "exported.tar")
    client = docker.from_env()
    history = json.dumps(client.api.history(f"sha256:{image.identity}"))
    inspected = json.dumps(client.api.inspect_image(f"sha256:{image.identity}"))
    client.close()
    said = capfd.readouterr()
    shown = "\n".join([*lines, history, inspected, said.out, said.err, repr(given)]).encode()
    assert not any(word in shown for word in words)
    looked = [tmp_path, config.images, config.runs, config.state_dir]
    files = [path for folder in looked for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 3
    for path in files:
        data = path.read_bytes()
        assert not any(word in data for word in words), path

    own = tmp_path / "wheels"
    own.mkdir()
    for name, data in (APP, LIB):
        (own / name).write_bytes(data)
    with images.index() as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        given = sources.sources((), own)
        assert requirements.resolve(["app"], silent, given) == lock
        second = dataclasses.replace(config, cache_dir=tmp_path / "second")
        archive_file = tmp_path / "base.tar"
        archive.export(config, base.identity, archive_file)
        carried = archive.load(second, archive_file)
        monkeypatch.setenv("TZ", "Pacific/Kiritimati")
        before = os.umask(0o077)
        try:
            again = derive.derive(second, docker_engine, carried, lock, "private", silent, given)
        finally:
            os.umask(before)
    assert again.identity == locked.identity
