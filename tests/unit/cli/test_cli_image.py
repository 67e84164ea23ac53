"""Which image a name means, and what `doctor` says of those that locks name."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import images
from support.people import Person, project

from agent_pipeline.documents.images_lock import PATH, ImagesLock, LockedImage
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images import unpack
from agent_pipeline.sandbox.images.layers import FILE, Entry
from agent_pipeline.sandbox.images.store import Store


@pytest.fixture
def alice(tmp_path: Path) -> Person:
    cache = {"AGENT_PIPELINE_CACHE": str(tmp_path / "cache")}
    person = Person("alice", tmp_path / "home", tmp_path / "clone", cache)
    project(person)
    return person


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(images.config(tmp_path))


def made(store: Store, content: bytes, *, base: str | None = "0" * 64) -> Image:
    return images.add(store, [Entry("usr/a", FILE, content=content)], name="project", base=base)


def lock(person: Person, identity: str, base: str | None = "0" * 64) -> None:
    path = person.clone / PATH
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(ImagesLock(1, {"project": LockedImage(identity, {}, base, "1" * 64)}).to_json())


def test_of_several_images_the_locked_one_is_exported(alice: Person, store: Store, tmp_path: Path) -> None:
    one, two = made(store, b"1"), made(store, b"2")
    file = str(tmp_path / "project.tar")
    refused = alice.run("image", "export", "project", file)
    assert refused.code == 2
    assert "2 images here are called project" in refused.err
    for image in (one, two):
        lock(alice, image.identity)
        assert alice.yes("image", "export", "project", file)["identity"] == image.identity
    assert alice.yes("image", "export", one.identity[:12], file)["identity"] == one.identity


def test_doctor_says_whether_the_locked_images_are_here(alice: Person, store: Store) -> None:
    def said() -> tuple[bool, str, str]:
        row = next(row for row in alice.run("doctor", "--json").document["findings"] if row["name"] == "images")
        return row["ok"], row["said"], row["mend"]

    ok, text, mend = said()
    assert not ok
    assert "as locked, is not here; 0 in all" in text
    assert mend == "agent-pipeline image build python"
    image = made(store, b"1")
    lock(alice, "2" * 64)
    assert f"project {'2' * 12}, as locked, is not here; 1 in all" in said()[1]
    lock(alice, image.identity)
    assert f"project {image.identity[:12]}, as locked, is here; 1 in all" in said()[1]


def test_a_lock_behind_a_link_is_not_followed(alice: Person, tmp_path: Path) -> None:
    lock(alice, "2" * 64)
    (alice.clone / PATH).rename(tmp_path / "elsewhere.json")
    (alice.clone / PATH).symlink_to(tmp_path / "elsewhere.json")
    refused = alice.run("image", "build", "project")
    assert refused.code == 2
    assert "symbolic link" in refused.err


def test_a_name_that_no_recipe_and_no_lock_has_is_unknown(alice: Person) -> None:
    refused = alice.run("image", "build", "project")
    assert refused.code == 2
    assert "there is no image recipe `project`" in refused.err


def test_what_is_for_the_projects_image_is_refused_for_a_base(alice: Person, tmp_path: Path) -> None:
    for options in (["--locked"], ["--secret", f"netrc={tmp_path}"], ["--wheels", str(tmp_path)]):
        refused = alice.run("image", "build", "python", *options)
        assert refused.code == 2
        assert "for the project's image" in refused.err


def test_the_list_says_what_an_image_takes_and_who_names_it(alice: Person, store: Store, tmp_path: Path) -> None:
    one, two = made(store, b"1" * (2 << 20)), made(store, b"2")
    lock(alice, one.identity)
    unpack.rootfs(images.config(tmp_path), one)
    rows = {row["identity"]: row for row in alice.yes("image", "list")["images"]}
    assert rows[one.identity]["locked_by"] == ["this repository's lock"]
    assert rows[one.identity]["unpacked"] >= 2 << 20
    assert rows[one.identity]["since"].startswith("2")
    assert not rows[one.identity]["in_use"]
    assert (rows[two.identity]["locked_by"], rows[two.identity]["unpacked"]) == ([], None)
    lines = alice.run("image", "list").out.splitlines()
    line = next(line for line in lines if one.identity[:16] in line)
    assert line.endswith("2 MiB unpacked     0 days  this repository's lock")
    assert alice.run("image", "rm", two.identity[:12]).code == 0
    alice.yes("image", "rm", one.identity[:12], "--force")
    assert [path.name for path in (tmp_path / "cache" / "rootfs").iterdir()] == [".turn"]
