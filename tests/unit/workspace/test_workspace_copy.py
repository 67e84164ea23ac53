"""The copy is the tree: nothing more, nothing else, owned by the workload, bounded, and gone afterwards."""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

import pytest
from support.gitrepos import Project, make_project

from agent_pipeline import process
from agent_pipeline.errors import GitError, StorageError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.trees import FILE, Put
from agent_pipeline.workspace import Harvest, Workspace, create, harvest
from agent_pipeline.workspace.copy import Reach
from agent_pipeline.workspace.places import PREFIX

UID = 10001


def readable(_: str) -> bool:
    return True


@contextmanager
def copy_of(
    clone: Clone,
    tree: str,
    parent: Path,
    *,
    may_read: Callable[[str], bool] = readable,
    disk_mb: int = 64,
    reach: Reach = "host",
) -> Iterator[Workspace]:
    with create(
        clone,
        tree,
        may_read=may_read,
        scope=str(id(may_read)),
        lowers=parent.parent / "lowers",
        parent=parent,
        disk_mb=disk_mb,
        uid=UID,
        reach=reach,
    ) as workspace:
        assert workspace.mode == ("overlay" if os.geteuid() == 0 and reach == "host" else "copy")
        yield workspace


@pytest.fixture(params=["host", "copy"])
def reach(request: pytest.FixtureRequest) -> Reach:
    """Both ways to make a copy, as root; the second alone as anybody else."""
    return cast("Reach", request.param)


def let_others_in(folder: Path) -> None:
    """pytest keeps its folders to whoever runs it; the workload is somebody else."""
    for one in (folder, *folder.parents):
        if one == folder or one.name.startswith(("pytest-", "popen-")):
            one.chmod(0o755)


# As Git LFS commits a file of 123,456 bytes.
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d7a" * 16 + b"\nsize 123456\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = make_project(
        tmp_path / "p",
        {
            "a.txt": b"1\n",
            "empty": b"",
            "crlf.txt": b"a\r\nb\r\n",
            "src/run.sh": b"#!/bin/sh\n",
            "secret/key.pem": b"k",
            "film.bin": POINTER,
            ".gitattributes": b"*.txt text eol=lf filter=evil\n*.bin filter=lfs diff=lfs merge=lfs -text\n",
        },
    )
    for name in ("evil", "lfs"):
        made.git("config", f"filter.{name}.smudge", f"touch {tmp_path}/ran; cat")
    (made.folder / "link").symlink_to("src/run.sh")
    (made.folder / "out").symlink_to("/etc/passwd")
    (made.folder / "src/run.sh").chmod(0o755)
    made.git("-c", "core.autocrlf=false", "add", "--all")
    made.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},vendor/lib")
    made.git("commit", "--quiet", "-m", "more")
    return made


def tree_of(project: Project) -> str:
    return project.git("rev-parse", "HEAD^{tree}")


def test_everything_is_as_in_the_tree(project: Project, tmp_path: Path, reach: Reach) -> None:
    raw = project.raw_tree(("100644", b"crlf.txt", project.blob(b"a\r\nb\r\n")))
    with copy_of(project.clone, tree_of(project), tmp_path / "runs", reach=reach) as copy:
        found = {str(path.relative_to(copy.path)) for path in copy.path.rglob("*") if not path.is_dir()}
        assert found == {
            "a.txt", "empty", "crlf.txt", "src/run.sh", "secret/key.pem", ".gitattributes", "link", "out", "film.bin"
        }  # fmt: skip
        assert (copy.path / "empty").read_bytes() == b""
        assert (copy.path / "film.bin").read_bytes() == POINTER  # nobody is asked for what it points to
        assert (copy.path / "src/run.sh").stat().st_mode & 0o777 == 0o755
        assert (copy.path / "a.txt").stat().st_mode & 0o777 == 0o644
        assert os.readlink(copy.path / "out") == "/etc/passwd"  # noqa: PTH115
        assert list((copy.path / "vendor/lib").iterdir()) == []
        assert copy.withheld == copy.left_out == ()
    with copy_of(project.clone, raw, tmp_path / "runs", reach=reach) as copy:
        assert (copy.path / "crlf.txt").read_bytes() == b"a\r\nb\r\n"
    assert not (tmp_path / "ran").exists()


def test_it_belongs_to_the_workload_and_is_bounded(project: Project, tmp_path: Path, reach: Reach) -> None:
    with copy_of(project.clone, tree_of(project), tmp_path / "runs", reach=reach, disk_mb=4) as copy:
        if os.geteuid() != 0:
            assert not copy.bounded
            assert copy.path.stat().st_uid == os.geteuid()
            return
        assert copy.bounded
        assert os.path.ismount(copy.path)
        for path in (copy.path, *copy.path.rglob("*")):
            assert (path.lstat().st_uid, path.lstat().st_gid) == (UID, UID)
        flags = os.statvfs(copy.path).f_flag
        assert flags & os.ST_NOSUID
        assert flags & os.ST_NODEV
        assert copy.path.parent.stat().st_mode & 0o777 == 0o710
        with pytest.raises(OSError, match="No space left"):
            (copy.path / "big").write_bytes(b"x" * (5 << 20))
        (copy.path / "big").unlink()
        with pytest.raises(OSError, match="No space left"):
            _fill(copy.path)


def _fill(folder: Path) -> None:
    for number in range(20_000):
        (folder / f"f{number}").touch()


def test_the_workload_can_write(project: Project, tmp_path: Path, reach: Reach) -> None:
    let_others_in(tmp_path)
    with copy_of(project.clone, tree_of(project), tmp_path / "runs", reach=reach) as copy:
        script = (
            "import os, sys\n"
            "if os.geteuid() == 0: os.setgroups([]); os.setgid(10001); os.setuid(10001)\n"
            "os.chdir(sys.argv[1]);"
            "open('src/new', 'w').write('x'); open('a.txt', 'a').write('2')"
        )
        done = process.run([sys.executable, "-c", script, str(copy.path)], env={"PATH": os.environ["PATH"]})
        assert done.ok, done.explain()
        assert (copy.path / "a.txt").read_bytes() == b"1\n2"


def test_withheld_paths_are_not_there(project: Project, tmp_path: Path, reach: Reach) -> None:
    with copy_of(
        project.clone,
        tree_of(project),
        tmp_path / "runs",
        may_read=lambda path: not path.startswith("secret/"),
        reach=reach,
    ) as copy:
        assert copy.withheld == ("secret/key.pem",)
        assert not (copy.path / "secret").exists()


def test_a_pointer_to_a_large_file_is_a_file_like_any_other(project: Project, tmp_path: Path, reach: Reach) -> None:
    other = POINTER.replace(b"4d7a", b"beef")
    with copy_of(project.clone, tree_of(project), tmp_path / "runs", reach=reach) as copy:
        assert harvest(project.clone, copy, ignore=[], max_bytes=1000, max_files=10) == Harvest({}, (), (), ())
        (copy.path / "film.bin").write_bytes(other)
        found = harvest(project.clone, copy, ignore=[], max_bytes=1000, max_files=10)
        assert found == Harvest({"film.bin": Put(other, FILE)}, (), (), ())
    assert not (tmp_path / "ran").exists()


def test_names_that_are_no_text_are_copied_and_cannot_be_proposed(
    project: Project, tmp_path: Path, reach: Reach
) -> None:
    blob = project.blob(b"1")
    inner = project.raw_tree(("100644", b"kept", blob), ("100644", b"na\xefve", blob))
    tree = project.raw_tree(("40000", b"caf\xe9", inner), ("100644", b"gone\xff", blob), ("100644", b"plain", blob))

    def reap(copy: Workspace) -> Harvest:
        return harvest(project.clone, copy, ignore=[], max_bytes=1000, max_files=10)

    with copy_of(project.clone, tree, tmp_path / "runs", reach=reach) as copy:
        top = os.fsencode(copy.path)
        assert sorted(os.listdir(top)) == [b"caf\xe9", b"gone\xff", b"plain"]  # noqa: PTH208
        assert sorted(os.listdir(top + b"/caf\xe9")) == [b"kept", b"na\xefve"]  # noqa: PTH208
        assert reap(copy) == Harvest({}, (), (), ())
        (copy.path / os.fsdecode(b"caf\xe9/na\xefve")).write_bytes(b"2")
        (copy.path / os.fsdecode(b"gone\xff")).unlink()
        (copy.path / "plain").write_bytes(b"2")
        found = reap(copy)
    assert found.puts == {"plain": Put(b"2", FILE)}
    assert found.deletes == ()
    assert [path for path, _ in found.refused] == ["caf\\udce9/na\\udcefve", "gone\\udcff"]
    assert all("UTF-8" in reason for _, reason in found.refused), found.refused


def test_names_that_no_directory_holds_are_left_out(project: Project, tmp_path: Path, reach: Reach) -> None:
    blob = project.blob(b"1")
    inner = project.raw_tree(("100644", b"config", blob))
    tree = project.raw_tree(
        ("100644", b"..", blob),
        ("40000", b".GIT", inner),
        ("40000", b".git", inner),
        ("100644", b"a/b", blob),
        ("100644", b"good\xff\n", blob),
        ("120000", b"long", project.blob(b"x" * 5000)),
        ("100644", b"x" * 256, blob),
    )
    with copy_of(project.clone, tree, tmp_path / "runs", reach=reach) as copy:
        assert copy.left_out == ("..", ".GIT/config", ".git/config", "a/b", "long", "x" * 256)
        assert os.listdir(os.fsencode(copy.path)) == [b"good\xff\n"]  # noqa: PTH208


def test_deep_trees_are_cut(project: Project, tmp_path: Path, reach: Reach) -> None:
    tree = project.raw_tree(("100644", b"f", project.blob(b"1")))
    for _ in range(300):
        tree = project.raw_tree(("40000", b"d", tree))
    with copy_of(project.clone, tree, tmp_path / "runs", reach=reach) as copy:
        assert copy.left_out == ("/".join(["d"] * 300 + ["f"]),)


def test_a_link_and_a_directory_of_one_name(project: Project, tmp_path: Path, reach: Reach) -> None:
    """A damaged tree must not lead a file through a link that the same tree brought along."""
    outside = tmp_path / "outside"
    outside.mkdir()
    inner = project.raw_tree(("100644", b"pwned", project.blob(b"1")))
    tree = project.raw_tree(("120000", b"a", project.blob(os.fsencode(outside))), ("40000", b"a", inner))
    with (
        pytest.raises(GitError, match="names a file twice"),
        copy_of(project.clone, tree, tmp_path / "runs", reach=reach),
    ):
        pass
    assert list(outside.iterdir()) == []
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_base_that_does_not_fit(project: Project, tmp_path: Path) -> None:
    tree = project.raw_tree(*(("100644", b"%d" % i, project.blob(os.urandom(600_000))) for i in range(4)))
    with ExitStack() as stack:
        if os.geteuid() == 0:
            raised = stack.enter_context(pytest.raises(StorageError, match="does not fit"))
        stack.enter_context(copy_of(project.clone, tree, tmp_path / "runs", disk_mb=1, reach="copy"))
    if os.geteuid() == 0:
        assert "disk_mb" in (raised.value.hint or "")
    assert list((tmp_path / "runs").iterdir()) == []


def test_many_small_files_fit_where_their_bytes_do(project: Project, tmp_path: Path, reach: Reach) -> None:
    leaf = project.raw_tree(*(("100644", b"%03d" % i, project.blob(b"")) for i in range(200)))
    tree = project.raw_tree(*(("40000", b"%03d" % i, leaf) for i in range(100)))
    with copy_of(project.clone, tree, tmp_path / "runs", reach=reach, disk_mb=2) as copy:
        assert sum(len(files) for _, _, files in os.walk(copy.path)) == 20_000


def test_a_missing_object(project: Project, tmp_path: Path, reach: Reach) -> None:
    tree = project.raw_tree(("100644", b"a", "1" * 40))
    with pytest.raises(GitError), copy_of(project.clone, tree, tmp_path / "runs", reach=reach):
        pass
    assert list((tmp_path / "runs").iterdir()) == []


def _break(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    (folder / "src").chmod(0)
    raise RuntimeError("on purpose")


def test_nothing_is_left_whatever_was_made_there(project: Project, tmp_path: Path, reach: Reach) -> None:
    with (
        pytest.raises(RuntimeError, match="on purpose"),
        copy_of(project.clone, tree_of(project), tmp_path / "r", reach=reach) as copy,
    ):
        _break(copy.path)
    assert list((tmp_path / "r").iterdir()) == []


def test_unbounded_copies_are_removed_too(project: Project, tmp_path: Path) -> None:
    """As somebody who is not root: no tmpfs, and hostile permissions in the way of removal."""
    let_others_in(tmp_path)
    runs = tmp_path / "runs"
    runs.mkdir()
    if os.geteuid() == 0:
        os.chown(runs, 12345, 12345)
    script = f"""
import os, sys
sys.path.insert(0, {str(Path.cwd())!r})
from pathlib import Path
import pygit2
from agent_pipeline.repository.clone import Clone
from agent_pipeline.workspace import create
pygit2.option(pygit2.enums.Option.SET_OWNER_VALIDATION, 0)
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(12345); os.setuid(12345)
clone = Clone.discover(Path({str(project.folder)!r}))
runs = Path({str(runs)!r})
with create(
    clone, {tree_of(project)!r}, may_read=lambda p: True, scope="all", lowers=runs.parent / "lowers", parent=runs,
    disk_mb=1, uid=10001,
) as w:
    assert not w.bounded
    assert (w.path / "a.txt").stat().st_uid == os.geteuid()
    here = w.path / "deep"
    os.mkdir(here); fd = os.open(here, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d" * 50, dir_fd=fd); below = os.open("d" * 50, os.O_RDONLY, dir_fd=fd); os.close(fd); fd = below
    os.chmod(w.path / "src", 0); os.chmod(here, 0o400); os.chmod(w.path, 0o500)
"""
    done = process.run([sys.executable, "-c", script], env={"PATH": os.environ["PATH"]})
    assert done.ok, done.explain()
    assert list(runs.iterdir()) == []


def test_a_parent_that_cannot_be_made(project: Project, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StorageError, match="cannot make a directory"),
        copy_of(project.clone, tree_of(project), tmp_path / "file" / "x"),
    ):
        pass


def test_two_copies_at_once(project: Project, tmp_path: Path, reach: Reach) -> None:
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(copy_of(project.clone, tree_of(project), tmp_path / "r", reach=reach)) for _ in range(2)
        )
        assert one.path != two.path
        (one.path / "a.txt").write_bytes(b"x")
        assert (two.path / "a.txt").read_bytes() == b"1\n"
    assert list((tmp_path / "r").iterdir()) == []


def killed(project: Project, runs: Path, *, watched: bool, reach: Reach = "host") -> None:
    """Make a copy in a process, and kill that; without `watched`, the process first that waits for its death."""
    script = f"""
import sys, time; sys.path.insert(0, {str(Path.cwd())!r})
from pathlib import Path
from agent_pipeline.repository.clone import Clone
from agent_pipeline.workspace import create
clone, runs = Clone.discover(Path({str(project.folder)!r})), Path({str(runs)!r})
with create(
    clone, {tree_of(project)!r}, may_read=lambda p: True, scope="all", lowers=runs.parent / "lowers", parent=runs,
    disk_mb=1, uid=10001, reach={reach!r},
) as w:
    print("ready", flush=True); time.sleep(60)
"""
    child = process.spawn([sys.executable, "-c", script], env={"PATH": os.environ["PATH"]})
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"ready\n"
    assert any(path.is_dir() for path in runs.iterdir())
    if not watched:
        for watcher in Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split():
            os.kill(int(watcher), signal.SIGKILL)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    child.stdin.close()


def test_what_a_killed_process_leaves_goes_by_itself(project: Project, tmp_path: Path, reach: Reach) -> None:
    runs = tmp_path / "r"
    killed(project, runs, watched=True, reach=reach)
    until = time.monotonic() + 5
    while list(runs.iterdir()):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert str(runs) not in Path("/proc/self/mountinfo").read_text()


def test_what_a_killed_process_leaves_goes_with_the_next_copy(project: Project, tmp_path: Path, reach: Reach) -> None:
    runs = tmp_path / "r"
    killed(project, runs, watched=False, reach=reach)
    left = {path.name for path in runs.iterdir()}
    assert all(name.startswith(PREFIX) for name in left)
    assert len(left) == 2
    again = [copy_of(Clone.discover(project.folder), tree_of(project), runs) for _ in range(2)]
    with again[0] as living, again[1] as other:
        assert not left & {path.name for path in runs.iterdir()}
        assert living.path.is_dir()
        assert other.path.is_dir()
    assert list(runs.iterdir()) == []


def test_interrupted_with_ctrl_c(project: Project, tmp_path: Path) -> None:
    """Again and again in one process, so that it falls into everything that copying does: none is lost."""
    script = f"""
import os, sys; sys.path.insert(0, {str(Path.cwd())!r})
from pathlib import Path
from agent_pipeline import interrupts
from agent_pipeline.repository.clone import Clone
from agent_pipeline.workspace import create
clone = Clone.discover(Path({str(project.folder)!r}))
runs = Path({str(tmp_path / "r")!r})

def copying():
    while True:
        with create(
            clone, {tree_of(project)!r}, may_read=lambda p: True, scope="all", lowers=runs.parent / "lowers",
            parent=runs, disk_mb=1, uid=10001,
        ):
            pass

with interrupts.heard():
    while True:
        try:
            print("ready", flush=True)
            copying()
        except KeyboardInterrupt:
            pass
        if not sys.stdin.readline():
            sys.exit(130)
"""
    moments = random.Random(1)  # noqa: S311 - moments
    child = process.spawn([sys.executable, "-c", script], env={"PATH": os.environ["PATH"]})
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        for left in reversed(range(100)):
            assert select.select([child.stdout], [], [], 10)[0], "an interrupt was lost"
            assert child.stdout.readline() == b"ready\n"
            time.sleep(moments.random() * 0.03)
            os.kill(child.pid, signal.SIGINT)
            if left:
                child.stdin.write(b"on\n")
                child.stdin.flush()
        child.stdin.close()
        assert child.wait(timeout=10) == 130
    finally:
        process.kill_group(child)
        child.stdout.close()
    until = time.monotonic() + 5  # what two interrupts at once left goes when the process is gone
    while list((tmp_path / "r").iterdir()):
        assert time.monotonic() < until
        time.sleep(0.05)
