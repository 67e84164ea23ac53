"""Dependencies change after `init`: locked anew, and used by the next request once the locks have landed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import desks, images
from support.people import ASKED, FIX, Person, project

from agent_pipeline.documents.images_lock import PATH as IMAGES
from agent_pipeline.documents.images_lock import REQUIREMENTS

pytestmark = pytest.mark.containers

# The fix, by an agent that needs the package which the project has come to name.
NEEDS = "import roundly\nassert roundly.VALUE == 1\n" + FIX


@pytest.fixture
def alice(tmp_path: Path) -> Person:
    """Somebody whose package index has a package more than others'."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    name, data = images.wheel("roundly")
    (wheels / name).write_bytes(data)
    links = f"{os.environ.get('PIP_FIND_LINKS', '')} {wheels}".strip()
    person = Person("alice", tmp_path / "home", tmp_path / "clone", {"PIP_FIND_LINKS": links})
    project(person)
    return person


def locks(person: Person) -> tuple[bytes, bytes]:
    return (person.clone / REQUIREMENTS).read_bytes(), (person.clone / IMAGES).read_bytes()


def request(*options: str) -> tuple[str, ...]:
    return (
        "request", ASKED, "--engine", "command", "--sandbox", "bubblewrap", *options, "--", "python", "-c", NEEDS,
    )  # fmt: skip


def test_dependencies_are_renewed_and_used(alice: Person) -> None:
    alice.yes("init")
    before = locks(alice)

    (alice.clone / "requirements-dev.txt").write_text("roundly\n")
    early = alice.yes("image", "build", "project")
    assert (early["changes"], early["files"]) == ([], [])
    assert locks(alice) == before  # what is not committed is not locked

    alice.git("add", "requirements-dev.txt")
    alice.git("commit", "-q", "-m", "Round with a package")
    done = alice.run("image", "build", "project")
    assert done.code == 0, str(done)
    assert "roundly not locked -> 1.0" in done.out
    assert done.out.splitlines()[-1].startswith("next: commit these two files")
    after = locks(alice)
    assert b"roundly==1.0 --hash=sha256:" in after[0]
    old, new = json.loads(before[1])["images"], json.loads(after[1])["images"]
    assert new["python"] == old["python"]
    assert new["project"]["base"] == old["project"]["base"]
    assert new["project"]["identity"] in done.out
    assert new["project"]["identity"] != old["project"]["identity"]
    changed = alice.git("status", "--porcelain").split()
    assert sorted(changed) == sorted(["M", IMAGES, "M", REQUIREMENTS])

    times = [(alice.clone / path).stat().st_mtime_ns for path in (REQUIREMENTS, IMAGES)]
    again = alice.run("image", "build", "project")
    assert again.code == 0, str(again)
    assert again.out.splitlines()[-1] == "nothing changed"
    assert [(alice.clone / path).stat().st_mtime_ns for path in (REQUIREMENTS, IMAGES)] == times

    assert alice.run(*request()).code == 1  # the protected branch still has the old locks
    alice.git("commit", "-q", "-am", "Lock the dependencies anew")
    told = alice.run(*request("--dry-run")).out
    assert "engine   command: python -c" in told
    assert "sandbox  bubblewrap" in told
    found = alice.yes(*request())
    assert found["state"] == "staged"

    # Two images are called project now: the repository's lock says which one is meant.
    exported = alice.yes("image", "export", "project", str(alice.home / "project.tar"))
    assert exported["identity"] == new["project"]["identity"]
    said = next(row for row in alice.yes("doctor")["findings"] if row["name"] == "images")["said"]
    assert f"project {new['project']['identity'][:12]}, as locked, is here" in said


@pytest.fixture
def desk() -> Iterator[desks.Desk]:
    with desks.initialised() as restored:
        yield restored()


def test_a_lock_that_cannot_be_read_is_written_anew(desk: desks.Desk) -> None:
    whole = locks(desk.person)
    (desk.clone / REQUIREMENTS).write_text("--index-url=https://example.org/simple\n")
    done = desk.run("image", "build", "project")
    assert done.code == 0, str(done)
    assert "it is written anew" in done.err
    assert done.document["files"] == [REQUIREMENTS, IMAGES]
    assert locks(desk.person) == whole


def test_a_base_is_never_renewed_from_the_repository(desk: desks.Desk) -> None:
    refused = desk.run("image", "build", "project", "--relock")
    assert refused.code == 2
    assert "leave --relock out" in refused.err
    (desk.clone / IMAGES).write_text("{")
    broken = desk.run("image", "build", "project", "--locked")
    assert broken.code == 1
    assert IMAGES in broken.err
    assert (desk.clone / IMAGES).read_text() == "{"


def test_the_image_is_made_as_locked_and_no_file_is_touched(desk: desks.Desk) -> None:
    before = locks(desk.person)
    done = desk.run("image", "build", "project", "--locked")
    assert done.code == 0, str(done)
    assert done.document["identity"] == json.loads(before[1])["images"]["project"]["identity"]
    (desk.clone / REQUIREMENTS).write_bytes(before[0] + b"# another lock\n")
    (desk.clone / IMAGES).write_bytes(before[1].replace(done.document["identity"].encode(), b"f" * 64))
    refused = desk.run("image", "build", "project", "--locked")
    assert refused.code == 3
    assert "sha256:ffffffffffff, is not on this machine" in refused.err
