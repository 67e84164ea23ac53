"""The cache of lower directories: made once, found damaged, never removed while in use, bounded."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import pytest
from support.gitrepos import Project, make_project

from agent_pipeline import process
from agent_pipeline.errors import GitError
from agent_pipeline.workspace import bounds, reading
from agent_pipeline.workspace.lowers import Lowers

OWNER = 10001 if os.geteuid() == 0 else None


def readable(_: str) -> bool:
    return True


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "p", {"a": b"1", "b/c": b"2", "secret": b"s"})


@pytest.fixture
def lowers(tmp_path: Path) -> Lowers:
    return Lowers(tmp_path / "lowers")


def tree_of(project: Project) -> str:
    return project.git("rev-parse", "HEAD^{tree}")


def made(lowers: Lowers, project: Project, scope: str = "all") -> str:
    key = lowers.key(tree_of(project), scope, OWNER)
    with lowers.made(key, project.clone, tree_of(project), readable, OWNER) as lower:
        assert lower is not None
    return key


def there(lowers: Lowers, key: str) -> bool:
    with lowers.held(key) as lower:
        return lower is not None


def test_it_is_made_once(project: Project, lowers: Lowers) -> None:
    key = made(lowers, project)
    with lowers.held(key) as lower:
        assert lower is not None
        before = lower.files.stat()
        assert (lower.files / "b/c").read_bytes() == b"2"
    assert made(lowers, project) == key
    assert (lowers.folder / key / "files").stat().st_ino == before.st_ino


def test_another_tree_scope_or_owner_is_another_entry(project: Project, lowers: Lowers) -> None:
    tree = tree_of(project)
    keys = {lowers.key(*words) for words in ((tree, "a", 1), (tree, "b", 1), (tree, "a", 2), (f"{tree[:-1]}x", "a", 1))}
    assert len(keys) == 4


def test_what_is_missing_is_listed(project: Project, lowers: Lowers) -> None:
    key = lowers.key(tree_of(project), "no secrets", OWNER)
    with lowers.made(key, project.clone, tree_of(project), lambda path: path != "secret", OWNER) as lower:
        assert lower is not None
        assert lower.missing().withheld == [b"secret"]
        assert lower.missing().left_out == []
        assert not (lower.files / "secret").exists()


def test_only_its_owner_gets_into_the_cache(project: Project, lowers: Lowers) -> None:
    made(lowers, project)
    assert lowers.folder.stat().st_mode & 0o777 == 0o700


DAMAGE = {
    "no note": lambda entry: (entry / "made.json").unlink(),
    "half a note": lambda entry: (entry / "made.json").write_bytes((entry / "made.json").read_bytes()[:20]),
    "another note": lambda entry: (entry / "made.json").write_bytes(b"[]"),
    "no files": lambda entry: (entry / "files").rename(entry / "moved"),
    "a file less": lambda entry: (entry / "files/a").unlink(),
    "a file more": lambda entry: (entry / "files/new").touch(),
    "another mode": lambda entry: (entry / "files").chmod(0o777),
    "another list": lambda entry: (entry / "withheld").write_bytes(b"x"),
    "no list": lambda entry: (entry / "left-out").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_entry_is_made_again(project: Project, lowers: Lowers, damage) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    key = made(lowers, project)
    damage(lowers.folder / key)
    assert not there(lowers, key)
    made(lowers, project)
    with lowers.held(key) as lower:
        assert lower is not None
        assert sorted(path.name for path in lower.files.iterdir()) == ["a", "b", "secret"]


def test_a_maker_that_fails_leaves_nothing(project: Project, lowers: Lowers) -> None:
    tree = project.raw_tree(("100644", b"a", project.blob(b"1")), ("100644", b"b", "1" * 40))
    key = lowers.key(tree, "all", OWNER)
    with pytest.raises(GitError), lowers.made(key, project.clone, tree, readable, OWNER):
        pass
    assert [path.name for path in lowers.folder.iterdir()] == [".turn"]


def test_a_maker_that_is_killed_is_swept_by_the_next(project: Project, lowers: Lowers) -> None:
    script = f"""
import sys; sys.path.insert(0, {str(Path.cwd())!r})
import time
from pathlib import Path
from agent_pipeline.repository.clone import Clone
from agent_pipeline.workspace import reading
from agent_pipeline.workspace.lowers import Lowers
def slow(path):
    print("making", flush=True); time.sleep(60)
clone = Clone.discover(Path({str(project.folder)!r}))
with Lowers(Path({str(lowers.folder)!r})).made("key", clone, {tree_of(project)!r}, slow, {OWNER!r}):
    pass
"""
    child = process.spawn([sys.executable, "-c", script], env={"PATH": os.environ["PATH"]})
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"making\n"
    assert len(list(lowers.folder.glob(".making-*"))) == 1
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    child.stdin.close()
    key = made(lowers, project)
    assert {path.name for path in lowers.folder.iterdir()} == {".turn", key}


def test_what_was_not_used_for_longest_goes_first(project: Project, tmp_path: Path) -> None:
    lowers = Lowers(tmp_path / "lowers", max_bytes=50_000)  # an entry here counts as 24,576 bytes
    first, second = made(lowers, project, "1"), made(lowers, project, "2")
    os.utime(lowers.folder / first / "made.json", (1, 1))
    os.utime(lowers.folder / second / "made.json", (2, 2))
    assert there(lowers, first)  # which is a use
    third = made(lowers, project, "3")
    assert [there(lowers, key) for key in (first, second, third)] == [True, False, True]


def test_what_is_in_use_is_never_removed(project: Project, tmp_path: Path) -> None:
    lowers = Lowers(tmp_path / "lowers", max_bytes=30_000)
    first = made(lowers, project, "1")
    with lowers.held(first) as lower:
        assert lower is not None
        second = made(lowers, project, "2")
        made(lowers, project, "3")
        assert (lower.files / "a").read_bytes() == b"1"
        assert there(lowers, first)
        assert not there(lowers, second)
    made(lowers, project, "4")
    assert not there(lowers, first)
    assert len([path for path in lowers.folder.iterdir() if not path.name.startswith(".")]) == 1


def test_what_another_process_uses_is_never_removed(project: Project, tmp_path: Path) -> None:
    lowers = Lowers(tmp_path / "lowers", max_bytes=30_000)
    first = made(lowers, project, "1")
    script = f"""
import sys
from pathlib import Path
from agent_pipeline.workspace.lowers import Lowers
with Lowers(Path({str(lowers.folder)!r})).held({first!r}) as lower:
    print("held", flush=True)
    sys.stdin.readline()
    print((lower.files / "a").read_text(), flush=True)
"""
    child = process.spawn([sys.executable, "-c", script], env={"PATH": os.environ["PATH"]})
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"held\n"
    made(lowers, project, "2")
    made(lowers, project, "3")
    child.stdin.close()
    assert child.stdout.readline() == b"1\n"
    child.wait()
    child.stdout.close()
    made(lowers, project, "4")
    assert not there(lowers, first)


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is a tmpfs, which only root mounts")
def test_a_full_disk_loses_what_nobody_uses(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", {"a": b"x" * 450_000})
    disk = tmp_path / "disk"
    disk.mkdir()
    assert bounds.mount(disk, 1)
    try:
        lowers = Lowers(disk)
        first, second = made(lowers, project, "1"), made(lowers, project, "2")
        with lowers.held(first) as held:
            assert held is not None
            third = made(lowers, project, "3")
            assert [there(lowers, key) for key in (first, second, third)] == [True, False, True]
            with lowers.held(third), pytest.raises(OSError, match="No space left"):
                made(lowers, project, "4")
            assert [there(lowers, key) for key in (first, third)] == [True, True]
    finally:
        bounds.unmount(disk)


def test_a_damaged_entry_stays_with_who_uses_it(project: Project, lowers: Lowers) -> None:
    key = made(lowers, project)
    with lowers.held(key) as lower:
        assert lower is not None
        top = os.open(lower.files, os.O_RDONLY)
        (lower.files / "new").touch()
        made(lowers, project)
        assert sorted(reading.names(top)) == ["a", "b", "new", "secret"]
        os.close(top)
    made(lowers, project, "another")
    assert not list(lowers.folder.glob(".old-*"))


def test_many_who_want_the_same_make_it_once(project: Project, lowers: Lowers) -> None:
    key, tree, clone = lowers.key(tree_of(project), "all", OWNER), tree_of(project), project.clone
    asked: list[str] = []

    def count(path: str) -> bool:
        asked.append(path)
        return True

    def make() -> None:
        with lowers.made(key, clone, tree, count, OWNER) as lower:
            assert lower is not None

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(asked) == ["a", "b/c", "secret"]
    assert there(lowers, key)


def test_what_was_just_made_is_held_before_another_can_evict_it(project: Project, tmp_path: Path) -> None:
    """Each of four makers needs the whole room of the cache, and all make at once: every one gets what it made."""
    lowers, tree = Lowers(tmp_path / "lowers", max_bytes=30_000), tree_of(project)
    got: list[bytes | None] = []

    def make(number: int) -> None:
        clone = project.clone
        for turn in range(25):
            with lowers.made(lowers.key(tree, f"{number}.{turn}", OWNER), clone, tree, readable, OWNER) as lower:
                got.append((lower.files / "a").read_bytes() if lower is not None else None)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [b"1"] * 100


def test_a_tree_larger_than_the_cache_does_not_fit(project: Project, tmp_path: Path) -> None:
    lowers = Lowers(tmp_path / "lowers", max_bytes=10_000)
    with pytest.raises(OSError, match="quota"):
        made(lowers, project)
    assert [path.name for path in lowers.folder.iterdir()] == [".turn"]
