"""Full disks: small file systems of the test's own, where the clone, the cache and the state lie."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest
from support.desks import Desk, refused, request_line
from support.leftovers import leftovers
from support.people import FIX, LAUNCH

pytestmark = [pytest.mark.containers, pytest.mark.mounts]

BIG = "open('big.bin', 'wb').write(b'x' * (64 << 20))"


@contextmanager
def small(folder: Path, megabytes: int, options: str = "") -> Iterator[None]:
    """Let `folder` lie on a file system of so many MiB, with what it holds now."""
    kept = folder.with_name(f"{folder.name}.kept")
    folder.rename(kept)
    folder.mkdir()
    options = f"size={megabytes}m,mode=0755{options}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "small", str(folder)], check=True)
    try:
        shutil.copytree(kept, folder, symlinks=True, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()
        kept.rename(folder)


def fill(folder: Path, leave: int = 0) -> None:
    """Fill the file system of `folder` but for `leave` bytes."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * (1 << 16)):
                pass
        except OSError:
            pass
    size = (folder / "filler").stat().st_size
    os.truncate(folder / "filler", max(size - leave, 0))


def left(desk: Desk, *mounts: Path) -> list[str]:
    return leftovers(desk.top, expected=mounts)


@pytest.mark.parametrize("leave", [0, 4096, 65536])
def test_a_full_disk_under_the_clone(desk: Desk, leave: int) -> None:
    """Objects and refs cannot be written: no request comes into being half, or a run ends and says why."""
    with small(desk.clone, 32):
        before = desk.refs()
        fill(desk.clone, leave)
        done = desk.request()
        assert done.code == 3, str(done)
        refused(done, 3)
        assert "No space left" in done.err or "full" in done.err or "space" in done.err, str(done)
        assert left(desk, desk.clone) == []
        after = {ref: tip for ref, tip in desk.refs().items() if not ref.startswith("refs/agent-pipeline/requests/")}
        assert after == before
        (desk.clone / "filler").unlink()
        assert desk.request().code == 0


def test_a_full_disk_under_the_clone_when_landing(desk: Desk) -> None:
    done = desk.request()
    request = done.document["id"]
    with small(desk.clone, 32):
        before = desk.refs()
        fill(desk.clone)
        for argv in (("land", request), ("ci", "merge", request), ("close", request)):
            landed = desk.run(*argv)
            assert landed.code == 3, str(landed)
            assert "space" in landed.out, str(landed)
            assert desk.refs() == before
            assert left(desk, desk.clone) == []
        assert "if values" not in (desk.clone / "calc.py").read_text()
        (desk.clone / "filler").unlink()
        assert desk.run("land", request).code == 0
        assert desk.person.git("status", "--porcelain", "-uno") == ""
        assert left(desk, desk.clone) == []


def test_a_full_disk_under_the_cache(desk: Desk) -> None:
    cache = desk.top / "cache"
    with small(cache, 1):
        fill(cache)
        for backend in ("bubblewrap", "docker"):
            done = desk.run("request", "x", "--kind", "refactor", "--sandbox", backend, "--", "python", "-c", FIX)
            assert done.code in (0, 3), str(done)
            if done.code:
                refused(done, 3, "space")
            assert left(desk, cache) == []


def test_no_inode_left_under_the_cache(desk: Desk) -> None:
    cache = desk.top / "cache"
    shutil.rmtree(cache / "lowers", ignore_errors=True)  # earlier copies' lower directories need not fit
    with small(cache, 1, ",nr_inodes=8"):
        number = 0
        try:
            while True:
                (cache / f"filler{number}").touch()
                number += 1
        except OSError:
            pass
        refused(desk.request(), 3, str(cache), "AGENT_PIPELINE_CACHE")
        assert left(desk, cache) == []
        (row,) = desk.run("list").document["requests"]
        assert row["state"] == "failed"


def test_a_full_disk_under_the_state(desk: Desk) -> None:
    state = desk.person.home / "state"
    state.mkdir(exist_ok=True)
    with small(state, 1):
        fill(state)
        done = desk.request()
        refused(done, 3, "space")
        assert left(desk, state) == []


def test_a_full_disk_under_the_configuration(desk: Desk) -> None:
    config = desk.person.home / "config"
    with small(config, 1):
        fill(config)
        pins = (desk.config / "pins.json").read_bytes()
        refused(desk.run("trust", "pin"), 3, "space")
        assert (desk.config / "pins.json").read_bytes() == pins
        refused(desk.run("keys", "generate", "second"), 3, "space")
        assert sorted(path.name for path in (desk.config / "keys").iterdir()) == ["default", "default.pub"]
        assert left(desk, config) == []


def sixteen_megabytes(desk: Desk) -> AbstractContextManager[None]:
    """Bound the sandbox's disk: by the policy, and where only root could hold that, by where the cache lies."""
    desk.edit_policy(("disk_mb: 1024", "disk_mb: 16"))
    return small(desk.top / "cache", 16) if LAUNCH else nullcontext()


@pytest.mark.parametrize("backend", ["bubblewrap", "docker"])
def test_an_agent_that_fills_its_disk(desk: Desk, backend: str) -> None:
    with sixteen_megabytes(desk):
        done = desk.run("request", "x", "--kind", "refactor", "--sandbox", backend, "--", "python", "-c", BIG)
        refused(done, 1, "without a proposal")
        assert "No space left" in desk.run("transcript", done.document["id"]).out


def test_a_base_larger_than_the_sandboxs_disk(desk: Desk) -> None:
    """What is only read takes none of it, what is changed does; where the disk stands for it, nothing fits."""
    (desk.clone / "large.bin").write_bytes(os.urandom(17 << 20))
    desk.person.git("add", "large.bin")
    desk.person.git("commit", "-q", "-m", "Large")
    with sixteen_megabytes(desk):
        if LAUNCH:
            refused(desk.request(), 3, "does not fit")
            return
        assert desk.request().code == 0
        grow = "open('large.bin', 'ab').write(b'x')"
        done = desk.run("request", "x", "--kind", "refactor", "--", "python", "-c", grow)
        refused(done, 1, "without a proposal")
        assert "No space left" in desk.run("transcript", done.document["id"]).out


def test_results_that_cannot_be_written(desk: Desk) -> None:
    request = desk.request().document["id"]
    results = desk.top / "results"
    results.mkdir()
    with small(results, 1):
        fill(results)
        refused(desk.run("ci", "replay", request, "--out", str(results / "x.json")), 3, "space")
        assert [path.name for path in results.iterdir()] == ["filler"]
        assert left(desk, results) == []
    results.rmdir()


def test_a_clone_that_may_not_be_written_to(desk: Desk) -> None:
    with small(desk.clone, 32):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(desk.clone)], check=True)
        refused(desk.run(*request_line("pass")), 3)
        assert desk.run("list").code == 0
