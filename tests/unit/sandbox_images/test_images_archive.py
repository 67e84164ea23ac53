"""Images in a file: the same identity on the other side, and nothing believed that the file says."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import images

from agent_pipeline.errors import RejectedError, SandboxError, UsageError
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images import archive
from agent_pipeline.sandbox.images.layers import FILE, LINK, Entry
from agent_pipeline.sandbox.images.store import Store

A = [Entry("usr/a", FILE, content=b"1"), Entry("usr/l", LINK, link="a")]
B = [Entry("usr/b", FILE, content=b"2")]
Parts = dict[str, bytes]


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return images.add(Store(images.config(tmp_path)), A, B)


def parts(image: Image) -> Parts:
    with tarfile.open(fileobj=io.BytesIO(b"".join(archive.stream(image)))) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]


def packed(members: Parts, *extra: tarfile.TarInfo) -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info)
    return file


def test_another_party_gets_the_same_identity(image: Image, tmp_path: Path) -> None:
    file = tmp_path / "image.tar"
    archive.export(images.config(tmp_path), image.identity, file)
    there = images.config(tmp_path / "elsewhere")
    imported = archive.load(there, file)
    assert (imported.name, imported.identity) == (image.name, image.identity)
    assert Store(there).get(image.identity) == imported
    archive.export(there, image.identity, tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == file.read_bytes()


def test_importing_twice_is_one_image(image: Image, tmp_path: Path) -> None:
    file = tmp_path / "image.tar"
    archive.export(images.config(tmp_path), image.identity, file)
    assert archive.load(images.config(tmp_path), file) == image
    assert len(Store(images.config(tmp_path)).list()) == 1


def test_a_damaged_image_is_not_exported_and_no_half_file_stays(image: Image, tmp_path: Path) -> None:
    layer = min((image.folder / "layers").iterdir())
    layer.chmod(0o644)
    layer.write_bytes(layer.read_bytes()[:-512])
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(SandboxError, match="changed on disk"):
        archive.export(images.config(tmp_path), image.identity, out / "image.tar")
    assert list(out.iterdir()) == []


def test_an_image_that_is_not_here_is_said(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="no image"):
        archive.export(images.config(tmp_path), "f" * 64, tmp_path / "x")
    with pytest.raises(UsageError, match="cannot be read"):
        archive.load(images.config(tmp_path), tmp_path / "missing")


def test_the_form_that_an_engine_writes_is_read_too(image: Image, tmp_path: Path) -> None:
    """`docker save` adds directories and small files of its own and names the layers differently."""
    members = parts(image)
    manifest = json.loads(members["manifest.json"])
    renamed = {name: f"{number}/layer.tar" for number, name in enumerate(manifest[0]["Layers"])}
    manifest[0]["Layers"] = list(renamed.values())
    saved = {renamed.get(name, name): content for name, content in members.items()}
    saved |= {"manifest.json": json.dumps(manifest).encode(), "0/VERSION": b"1.0", "repositories": b"{}"}
    folder = tarfile.TarInfo("0")
    folder.type = tarfile.DIRTYPE
    there = Store(images.config(tmp_path / "elsewhere"))
    assert archive.read(there, packed(saved, folder)).identity == image.identity


def manifest_of(members: Parts, change: Callable[[dict[str, object]], object]) -> Parts:
    manifest = json.loads(members["manifest.json"])
    change(manifest[0])
    return {**members, "manifest.json": json.dumps(manifest).encode()}


def layer_names(members: Parts) -> list[str]:
    names: list[str] = json.loads(members["manifest.json"])[0]["Layers"]
    return names


def evil_layer(members: Parts) -> Parts:
    """A layer with a device, consistently named by a configuration of its own."""
    info = tarfile.TarInfo("usr/null")
    info.type = tarfile.CHRTYPE
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(info)
    return with_first_layer(members, file.getvalue())


def with_first_layer(members: Parts, content: bytes) -> Parts:
    import hashlib  # noqa: PLC0415 - one helper

    old, new = layer_names(members)[0].removesuffix(".tar"), hashlib.sha256(content).hexdigest()
    config_name = json.loads(members["manifest.json"])[0]["Config"]
    changed = {name: data for name, data in members.items() if name != f"{old}.tar"}
    changed[config_name] = members[config_name].replace(old.encode(), new.encode())
    changed["manifest.json"] = members["manifest.json"].replace(old.encode(), new.encode())
    return {**changed, f"{new}.tar": content}


def special(kind: bytes, name: str = "x", link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


HOSTILE: dict[str, Callable[[Parts], io.BytesIO]] = {
    "no manifest": lambda m: packed({name: data for name, data in m.items() if name != "manifest.json"}),
    "a manifest that is no JSON": lambda m: packed({**m, "manifest.json": b"{"}),
    "a manifest of two images": lambda m: packed(
        {**m, "manifest.json": json.dumps(json.loads(m["manifest.json"]) * 2).encode()}
    ),
    "a manifest without layers": lambda m: packed(manifest_of(m, lambda image: image.pop("Layers"))),
    "fewer layers": lambda m: packed(manifest_of(m, lambda image: image["Layers"].pop())),  # type: ignore[attr-defined]
    "layers in another order": lambda m: packed(manifest_of(m, lambda image: image["Layers"].reverse())),  # type: ignore[attr-defined]
    "a layer that is missing": lambda m: packed({n: d for n, d in m.items() if n != layer_names(m)[0]}),
    "a layer with other content": lambda m: packed({**m, layer_names(m)[0]: m[layer_names(m)[1]]}),
    "a layer with a device": lambda m: packed(evil_layer(m)),
    "a layer that is no archive": lambda m: packed(with_first_layer(m, b"no archive")),
    "a configuration outside": lambda m: packed(manifest_of(m, lambda image: image.update(Config="../../etc/passwd"))),
    "a layer outside": lambda m: packed(manifest_of(m, lambda image: image.update(Layers=["/etc/passwd", "../x"]))),
    "a link": lambda m: packed(m, special(tarfile.SYMTYPE, link="/etc/passwd")),
    "a hard link": lambda m: packed(m, special(tarfile.LNKTYPE, link="manifest.json")),
    "a device": lambda m: packed(m, special(tarfile.CHRTYPE)),
    "a pipe": lambda m: packed(m, special(tarfile.FIFOTYPE)),
    "a member twice": lambda m: packed(m, special(tarfile.REGTYPE, "manifest.json")),
    "too many members": lambda m: packed(m, *(special(tarfile.REGTYPE, f"m{number}") for number in range(200))),
    "a large manifest": lambda m: packed({**m, "manifest.json": m["manifest.json"] + b" " * (2 << 20)}),
    "a cut-off file": lambda m: io.BytesIO(packed(m).getvalue()[:3000]),
    "nothing": lambda _: io.BytesIO(b""),
    "compressed": lambda m: io.BytesIO(__import__("gzip").compress(packed(m).getvalue())),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused_and_leave_nothing(name: str, image: Image, tmp_path: Path) -> None:
    there = Store(images.config(tmp_path / "elsewhere"))
    with pytest.raises(RejectedError):
        archive.read(there, HOSTILE[name](parts(image)))
    assert there.list() == ()
    assert not there.folder.exists() or [path for path in there.folder.iterdir() if path.is_dir()] == []


def test_headers_that_would_fill_the_memory_are_refused(image: Image, tmp_path: Path) -> None:
    huge = tarfile.TarInfo("x")
    huge.pax_headers = {"comment": "x" * (4 << 20)}
    with pytest.raises(RejectedError, match="headers"):
        archive.read(Store(images.config(tmp_path / "elsewhere")), packed(parts(image), huge))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_damaged_archives_never_become_another_image(image: Image, tmp_path: Path, data: st.DataObject) -> None:
    good = b"".join(archive.stream(image))
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    there = Store(images.config(tmp_path / "elsewhere"))
    try:
        found = archive.read(there, io.BytesIO(bytes(damaged)))
    except RejectedError:
        return
    again = archive.read(there, io.BytesIO(b"".join(archive.stream(found))))
    assert again == found
    assert found.identity == image.identity or b"usr/" in bytes(damaged)
