"""Bootstrapping: the same image from the same packages, whoever interrupts, and never in silence another one."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent_pipeline import config as configuration
from agent_pipeline.config import Config
from agent_pipeline.documents.images_lock import ImagesLock, LockedImage
from agent_pipeline.sandbox.images import build, identity, locks, recipe
from agent_pipeline.sandbox.images.store import Store

pytestmark = pytest.mark.containers
ROOT = Path(__file__).resolve().parents[3]


def silent(_: str) -> None:
    """Progress that nobody looks at."""


def fresh(folder: Path) -> Config:
    return dataclasses.replace(configuration.load(), cache_dir=folder)


def outdated(config: Config, locked: LockedImage | None) -> locks.OutdatedLockError:
    """Make the image from nothing, with a lock that cannot be right."""
    with pytest.raises(locks.OutdatedLockError) as caught:
        build.make(config, recipe.load("python"), locked, silent)
    return caught.value


# Another machine, as far as one can be had here: its name, its time zone, its language, what its files may be read by.
ELSEWHERE = """
import os, sys
from pathlib import Path
os.umask(0o077)
from agent_pipeline.config import Config
from agent_pipeline.documents.images_lock import ImagesLock
from agent_pipeline.sandbox.images import build, locks, recipe
folder = Path(sys.argv[1])
try:
    old = ImagesLock.from_json(sys.stdin.buffer.read()).images["python"]
    build.make(Config(folder, folder, folder, None, None, None, None), recipe.load("python"), old, lambda _: None)
except locks.OutdatedLockError as error:
    sys.stdout.buffer.write(ImagesLock(1, {"python": error.made}).to_json())
    print(error.message, file=sys.stderr)
"""


def outdated_elsewhere(folder: Path, old: LockedImage) -> locks.OutdatedLockError:
    env = {**os.environ, "TZ": "Pacific/Kiritimati", "LANG": "tr_TR.UTF-8", "LC_ALL": "C", "HOME": "/nonexistent"}
    renamed = ["unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*renamed, sys.executable, "-c", ELSEWHERE, str(folder)],
        input=ImagesLock(1, {"python": old}).to_json(), capture_output=True, cwd=ROOT, env=env, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    made = ImagesLock.from_json(done.stdout).images["python"]
    return locks.OutdatedLockError(done.stderr.decode(), recipe.load("python"), old, made)


def test_two_builds_are_one_image_and_a_moved_mirror_is_named(tmp_path: Path) -> None:
    """The machine's image came out of another bootstrap: another cache, lock, umask, host name, zone and moment."""
    config = fresh(tmp_path / "one")
    other, _ = build.ensure(configuration.load(), "python", silent)
    old = LockedImage("f" * 64, {**other.packages, "libc6": "2.36-9+deb12u1", "left-behind": "1"})
    error = outdated_elsewhere(tmp_path / "one", old)
    if other.packages != error.made.packages:  # the mirror moved on since then
        other = outdated(fresh(tmp_path / "two"), None).made
    assert error.made == other
    assert {"python3", "git", "libc6"} <= set(other.packages)
    assert "left-behind 1 -> no longer needed; libc6 2.36-9+deb12u1 -> 2.36" in error.message
    assert [image.identity for image in Store(config).list()] == [other.identity]
    assert list(config.images.glob(".staging-*")) == []
    assert locks.relocked(config, error.ingredients, old) is None
    assert locks.relock(config, error) == other
    assert locks.relocked(config, error.ingredients, old) == other
    lines: list[str] = []
    assert build.make(config, error.ingredients, other, lines.append) == other
    assert not any("bootstrapping" in line for line in lines), "the packages are at hand now"


def test_the_shipped_lock_is_of_this_recipe() -> None:
    """Whoever changes the recipe or a file that it copies in also runs `python ci/relock.py`."""
    config, lines = configuration.load(), list[str]()
    shipped = locks.shipped("python")
    assert shipped is not None
    made, image = build.ensure(config, "python", lines.append)
    if made.packages == shipped.packages:
        assert made.identity == shipped.identity
    else:
        assert any("relocked" in line for line in lines), "another image was used without saying so"
    assert Store(config).require("python", made) == image


def test_an_image_that_is_locked_for_another_architecture_is_not_begun(tmp_path: Path) -> None:
    here = identity.architecture()
    other = "amd64" if here == "arm64" else "arm64"
    locked = LockedImage("f" * 64, {}, architecture=other)
    lines: list[str] = []
    with pytest.raises(locks.OtherArchitectureError) as caught:
        build.make(fresh(tmp_path), recipe.load("python"), locked, lines.append)
    assert caught.value.message == f"the image python is locked for {other}, and this machine is {here}"
    assert caught.value.hint is not None
    assert f"`agent-pipeline image build --relock` makes one for {here}" in caught.value.hint
    assert lines == []


BUILD = """
import sys
import time
from pathlib import Path
from agent_pipeline import interrupts
from agent_pipeline.config import Config
from agent_pipeline.sandbox.images import build
folder = Path(sys.argv[1])
config = Config(folder, folder, folder, None, None, None, None)
with interrupts.heard():
    build.build(config, "python", lambda line: print(line, flush=True), relock=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupt_leaves_no_image_no_mount_and_no_process(tmp_path: Path, number: signal.Signals) -> None:
    builder = subprocess.Popen(
        [sys.executable, "-c", BUILD, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert builder.stdout is not None
    for line in builder.stdout:
        if "extracting" in line or "installing" in line:
            break
    builder.send_signal(number)
    builder.wait(timeout=30)
    builder.stdout.close()
    assert builder.returncode != 0
    images = tmp_path / "images"
    end = time.monotonic() + (10 if os.geteuid() == 0 else 60)
    while running_below(tmp_path) and time.monotonic() < end:
        time.sleep(0.05)
    assert running_below(tmp_path) == []
    if number == signal.SIGINT:
        assert list(images.glob(".staging-*")) == []
    else:  # nobody could clean up: the next writer does
        with Store(fresh(tmp_path)).staging():
            assert len(list(images.glob(".staging-*"))) == 1
    assert Store(fresh(tmp_path)).list() == ()
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text(encoding="utf-8")


def running_below(folder: Path) -> list[int]:
    """Processes of ours: those whose command line names the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


FULL_DISK = """
import sys
from pathlib import Path
from agent_pipeline import process
from agent_pipeline.config import Config
from agent_pipeline.errors import UnavailableError
from agent_pipeline.sandbox.images import build, recipe
small = Path(sys.argv[1])
mounted = process.run(["mount", "-t", "tmpfs", "-o", "size=48m", "none", str(small)], env={"PATH": "/usr/bin:/bin"})
assert mounted.ok, mounted.explain()
try:
    config = Config(small, small, small, None, None, None, None)
    build.make(config, recipe.load("python"), None, lambda _: None)
except UnavailableError as error:
    print(error.exit_code, sorted(path.name for path in (small / "images").iterdir()), "space" in error.message)
"""


@pytest.mark.mounts
@pytest.mark.skipif(os.geteuid() != 0, reason="without root mmdebstrap works in the system's temporary directory")
def test_a_disk_that_is_full_in_the_middle_of_a_build_keeps_no_half_image(tmp_path: Path) -> None:
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True, text=True, cwd=ROOT, check=False, timeout=300,
    )  # fmt: skip
    assert done.stdout == "3 ['.turn-image-python', '.turn-staging'] True\n", done.stderr
    assert list(tmp_path.iterdir()) == []
