"""Temporary files and directories vanish even when their maker is killed, and those of the living never do."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.gitrepos import make_project

from agent_pipeline import clock, process, temporary
from agent_pipeline.files import written_whole
from agent_pipeline.repository import trees

NAME = f"agent-pipeline-check-abcdefgh{temporary.SUFFIX}"
KILLS = 15
ENV = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
# Makes directories and files without end, and ends by itself when one of its own is taken away or another's is there.
MAKES = """
import sys
from pathlib import Path
from agent_pipeline import files, temporary
top, name = Path(sys.argv[1]), sys.argv[2]
print("begun", flush=True)
while True:
    with temporary.scratch("check", below=top) as folder:
        (folder / "a" / "b").mkdir(parents=True)
        (folder / "a" / "b" / "c").write_bytes(b"c")
        (folder / "link").symlink_to("/")
        with files.written_whole(top / name) as file:
            file.write(b"whole")
            assert (folder / "a" / "b" / "c").read_bytes() == b"c"
        assert sorted(path.name for path in folder.iterdir()) == ["a", "link"]
    assert (top / name).read_bytes() == b"whole"
"""
HOLDS = """
import sys, time
from pathlib import Path
from agent_pipeline import process, temporary
with temporary.scratch("check", below=Path(sys.argv[1])) as folder:
    left = process.spawn(["sleep", "60"], env={"PATH": "/usr/bin:/bin"})
    print(left.pid, flush=True)
    time.sleep(60)
"""
CHECKS = """
import sys
from pathlib import Path
from agent_pipeline.repository import trees
from agent_pipeline.repository.clone import Clone
clone, (base, tree) = Clone.discover(Path(sys.argv[1])), sys.argv[2:]
trees.cross_check(clone, base, tree, trees.compare(clone, base, tree))
"""


@contextmanager
def started(script: str, *argv: object, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", script, *map(str, argv)]
    with subprocess.Popen(command, env=ENV | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        try:
            yield child
        finally:
            child.kill()


def begun(child: subprocess.Popen[bytes]) -> bytes:
    assert child.stdout is not None
    assert child.stderr is not None
    return child.stdout.readline() or pytest.fail(child.stderr.read().decode())


def there(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def sweep(folder: Path) -> list[str]:
    with temporary.scratch("check", below=folder) as own:
        left = [name for name in there(folder) if name != own.name]
    assert there(folder) == left
    return left


def test_kills_at_any_moment_leave_nothing_once_the_next_begins(tmp_path: Path) -> None:
    moments, seen = random.Random(), 0  # noqa: S311 - other moments each time
    with started(MAKES, tmp_path, "lives") as living:
        begun(living)
        for number in range(KILLS):
            with started(MAKES, tmp_path, "dies") as child:
                begun(child)
                moment = moments.random() * 0.02
                clock.sleep(moment)
                child.send_signal(signal.SIGKILL)
                child.wait()
            assert living.poll() is None, f"kill {number}, after {moment:.4f} s: {living.communicate()[1].decode()}"
        living.send_signal(signal.SIGSTOP)  # in the middle of something
        seen = len(there(tmp_path))
        sweep(tmp_path)
        living.send_signal(signal.SIGCONT)
        clock.sleep(0.2)
        assert living.poll() is None, living.communicate()[1].decode()
    with written_whole(tmp_path / "lives"), written_whole(tmp_path / "dies"):
        pass
    assert seen
    assert sweep(tmp_path) == ["dies", "lives"]


def test_several_makers_in_one_directory_leave_each_other_alone(tmp_path: Path) -> None:
    with (
        started(MAKES, tmp_path, "1") as one,
        started(MAKES, tmp_path, "2") as two,
        started(MAKES, tmp_path, "3") as last,
    ):
        for child in (one, two, last):
            begun(child)
        clock.sleep(1)
        for child in (one, two, last):
            assert child.poll() is None, child.communicate()[1].decode()


def test_what_was_made_and_not_yet_locked_is_made_again(tmp_path: Path) -> None:
    """Another's sweep may come in between: it holds the lock that the maker waits for, and removes the directory."""
    for held in (temporary.folder("check", tmp_path), temporary.file(tmp_path, ".a-")):
        assert temporary._held(held.path, os.open(tmp_path, os.O_RDONLY)) is None
        held.remove()
    assert there(tmp_path) == []


def test_a_process_that_was_started_meanwhile_does_not_keep_it(tmp_path: Path) -> None:
    with started(HOLDS, tmp_path) as child:
        left = int(begun(child))
        try:
            assert len(sweep(tmp_path)) == 1
            child.kill()
            child.wait()
            assert sweep(tmp_path) == []
            os.kill(left, 0)
        finally:
            os.kill(left, signal.SIGKILL)


def test_the_cross_checks_directory_is_gone_after_the_next_command(tmp_path: Path) -> None:
    project = make_project(tmp_path / "r")
    base = project.git("rev-parse", "HEAD^{tree}")
    project.commit({"new": b"new\n"})
    tree = project.git("rev-parse", "HEAD^{tree}")
    tmp, slow, ready = tmp_path / "tmp", tmp_path / "bin", tmp_path / "ready"
    tmp.mkdir()
    slow.mkdir()
    (slow / "git").write_text(
        f'#!/bin/sh\nfor word; do [ "$word" != index-pack ] || {{ echo $$ >{ready}.new; mv {ready}.new {ready};'
        f' exec sleep 60; }}; done\nPATH={os.environ["PATH"]} exec git "$@"\n'
    )
    (slow / "git").chmod(0o755)
    with started(CHECKS, project.folder, base, tree, TMPDIR=str(tmp), PATH=f"{slow}:{ENV['PATH']}") as child:
        until = clock.monotonic() + 20
        while not ready.exists():
            assert child.poll() is None, child.communicate()[1].decode()
            assert clock.monotonic() < until
            clock.sleep(0.01)
        child.kill()
        child.wait()
        os.kill(int(ready.read_text()), signal.SIGKILL)
    (left,) = tmp.iterdir()
    assert left.name.startswith("agent-pipeline-check-")
    assert (left / "check.git").is_dir()
    home = {name: str(tmp_path / "home") for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")}
    done = process.run(
        [sys.executable, "-P", "-m", "agent_pipeline", "list"],
        env=ENV | home | {"TMPDIR": str(tmp)},
        cwd=project.folder,
    )
    assert done.code == 2, done.explain()  # no project of ours, and all the same a command
    assert there(tmp) == []
    trees.cross_check(project.clone, base, tree, trees.compare(project.clone, base, tree))


def test_what_is_named_alike_is_not_touched(tmp_path: Path) -> None:
    """No other's, however it is named; no link, and not what it leads to; no file that a person named so."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "data").write_bytes(b"precious")
    here = tmp_path / "tmp"
    here.mkdir()
    (here / NAME).symlink_to(precious)
    (here / "agent-pipeline-check-abcdefgh").mkdir()
    (here / f".a-abcdefgh{temporary.SUFFIX}").symlink_to(precious / "data")
    (here / ".a-20240102").write_bytes(b"mine")
    before = there(here)
    assert sweep(here) == before
    with written_whole(here / "a") as file:
        file.write(b"a")
    assert there(here) == sorted([*before, "a"])
    assert (precious / "data").read_bytes() == b"precious"


def test_what_hangs_or_leads_elsewhere_is_removed_where_it_lies(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "data").write_bytes(b"precious")
    here = tmp_path / "tmp"
    (here / NAME / "deep" / "deeper").mkdir(parents=True)
    for link in (here / NAME / "link", here / NAME / "deep" / "link"):
        link.symlink_to(precious)
    os.mkfifo(here / NAME / "pipe")
    os.mkfifo(here / f"agent-pipeline-pipe-abcdefgh{temporary.SUFFIX}")
    assert sweep(here) == []
    assert (precious / "data").read_bytes() == b"precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give something to another user")
def test_what_belongs_to_another_user_stays(tmp_path: Path) -> None:
    planted = tmp_path / NAME
    planted.mkdir()
    (planted / "data").write_bytes(b"theirs")
    os.chown(planted, 65534, 65534)
    assert sweep(tmp_path) == [NAME]
    assert (planted / "data").read_bytes() == b"theirs"


def test_a_directory_that_took_anothers_place_is_not_emptied(tmp_path: Path) -> None:
    """Whoever may write to the directory above can exchange it between the lock and the removal."""
    held = temporary.folder("check", tmp_path)
    (held.path / "ours").write_bytes(b"ours")
    held.path.rename(tmp_path / "away")
    held.path.mkdir()
    (held.path / "data").write_bytes(b"precious")
    held.remove()
    assert (held.path / "data").read_bytes() == b"precious"


def test_a_lock_of_the_living_is_respected(tmp_path: Path) -> None:
    folder = tmp_path / NAME
    folder.mkdir()
    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert sweep(tmp_path) == [NAME]
    os.close(lock)
    assert sweep(tmp_path) == []


def test_a_file_whose_writer_was_killed_goes_with_the_next_write_of_it(tmp_path: Path) -> None:
    write = f"""
import os
from pathlib import Path
from agent_pipeline.files import written_whole
with written_whole(Path({str(tmp_path / "a")!r})) as file:
    os.kill(os.getpid(), {signal.SIGKILL})
"""
    with started(write) as child:
        assert child.wait() == -signal.SIGKILL
    assert len(there(tmp_path)) == 1
    for expected in (2, 2):
        with written_whole(tmp_path / "b") as file:
            file.write(b"b")
        assert len(there(tmp_path)) == expected
    with written_whole(tmp_path / "a") as file:
        file.write(b"a")
    assert there(tmp_path) == ["a", "b"]
