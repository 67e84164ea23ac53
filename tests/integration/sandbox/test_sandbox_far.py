"""An engine that does not see this host's files: the workspace goes there and comes back, by itself and to the byte.

The engine is a real one, a second Docker of our own with its own data, in a mount namespace that hides `/tmp`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from support.gitrepos import Project, make_project
from support.second_docker import second_docker

from agent_pipeline.config import Config
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import fallbacks
from agent_pipeline.sandbox.contract import UID, Bounds, Image, Spec
from agent_pipeline.sandbox.docker import Docker
from agent_pipeline.workspace import create, harvest

pytestmark = [
    pytest.mark.containers,
    pytest.mark.skipif(os.geteuid() != 0, reason="a second Docker engine takes root"),
]

FILES = {"kept": b"1\n", "edited": b"1\n", "gone/a": b"1\n", "anew/a": b"1\n", "anew/b": b"2\n", "secret/key": b"s"}
WORK = r"""
set -e
test ! -e secret
echo 2 >>edited; touch kept; chmod 640 kept; rm -r gone; rm -r anew; mkdir anew; echo 1 >anew/a; echo 3 >'new file'
ln edited linked; truncate -s 8M sparse; ln -s /etc/passwd link; mkfifo pipe
mkdir -p "$(printf 'd\351ep')/$(seq -s/ 1 90)"
echo x >"$(printf 'no utf-8 \377')"; printf '#!/bin/sh\n' >tool; chmod 4755 tool; : >kept.pyc; : >empty
echo secret/key >nested; mkdir .git; echo x >.git/config; echo long >"$(printf 'n%.0s' $(seq 255))"
"""
FULL = "dd if=/dev/zero of=big bs=1M count=100 2>&1 | grep -c 'No space left'; rm -f big"


@pytest.fixture(scope="module")
def far() -> Iterator[str]:
    """The address of an engine that does not see `/tmp`."""
    with second_docker("mount -t tmpfs none /tmp") as address:
        yield address


@pytest.fixture
def box(far: str, config: Config, monkeypatch: pytest.MonkeyPatch) -> Docker:
    monkeypatch.setenv("DOCKER_HOST", far)
    made = Docker(config)
    assert made.available() is None
    return made


@pytest.fixture
def project(folder: Path) -> Project:
    return make_project(folder / "project", FILES)


def left(far: str) -> tuple[list[str], list[str]]:
    with contextlib.closing(docker.DockerClient(base_url=far)) as client:
        containers = [one.name for one in client.containers.list(all=True, ignore_removed=True)]
        return containers, [one.name for one in client.volumes.list()]


def test_what_was_done_far_away_is_what_was_done_here(
    box: Docker, far: str, config: Config, image: Image, project: Project, folder: Path
) -> None:
    clone, found = project.clone, {}
    near = Docker(config)
    os.environ.pop("DOCKER_HOST")
    assert near.available() is None
    for name, engine, address in (("near", near, None), ("far", box, far)):
        if address:
            os.environ["DOCKER_HOST"] = address
        with create(
            clone,
            project.git("rev-parse", "HEAD^{tree}"),
            may_read=lambda path: not path.startswith("secret/"),
            scope="s",
            lowers=folder / "lowers",
            parent=folder / "runs",
            disk_mb=16,
            uid=UID,
            reach=engine.reach,
        ) as copy:
            spec = Spec(image, copy.path, Bounds(256, 64, "1", 16, 60, require=("disk",)), "test", copied=copy.mode)
            with engine.start(spec) as sandbox:
                done = sandbox.run(["sh", "-c", WORK], seconds=30)
                assert (done.code, done.output) == (0, b""), done.output
                assert sandbox.run(["sh", "-c", FULL], seconds=30).output == b"1\n"
                assert "disk" not in sandbox.facts.unenforced
                assert sandbox.facts.workspace == ("archive" if address else copy.mode)
                assert bool(fallbacks.told(sandbox.facts)) is bool(address)
                sandbox.sync()
                live = harvest(clone, copy, ignore=["*.pyc"], max_bytes=10 << 20, max_files=100)
            found[name] = harvest(clone, copy, ignore=["*.pyc"], max_bytes=10 << 20, max_files=100)
            assert live == found[name]
    assert found["far"] == found["near"]
    assert {"edited", "linked", "sparse", "tool", "nested"} <= set(found["far"].puts)
    assert set(found["far"].deletes) == {"anew/b", "gone/a"}
    assert {path for path, _ in found["far"].refused} >= {"link", "pipe", ".git"}
    assert left(far) == ([], [])


def test_a_sandbox_far_away_has_the_same_walls(box: Docker, far: str, spec: Spec) -> None:
    with box.start(spec) as sandbox:
        assert sandbox.run(["python3", "-c", "import os; os.mknod('d', 0o020000, 5)"], seconds=10).code == 1
        assert sandbox.run(["sh", "-c", "echo x >/usr/x"], seconds=10).code != 0
        assert sandbox.run(["ls", "-A"], seconds=10).output == b""
    with pytest.raises(SandboxError, match="gone"):
        sandbox.sync()
    assert left(far) == ([], [])


def test_what_it_leaves_is_bounded(box: Docker, far: str, spec: Spec) -> None:
    small = replace(spec, bounds=replace(spec.bounds, disk_mb=4))
    sandbox = box.start(small)
    done = sandbox.run(["sh", "-c", "i=0; while : >f$i; do i=$((i+1)); done; echo $i"], seconds=60)
    assert b"No space left" in done.output
    sandbox.run(["sh", "-c", "rm -f f*; truncate -s 1T sparse || truncate -s 60M sparse"], seconds=20)
    with pytest.raises(SandboxError, match="more than its disk may hold"):
        sandbox.close()
    assert left(far) == ([], [])
    assert list(spec.workspace.iterdir()) == []


def test_a_killed_owner_leaves_nothing_far_away(far: str, spec: Spec, image: Image) -> None:
    program = f"""
import sys, time
from pathlib import Path
from agent_pipeline import config
from agent_pipeline.sandbox.contract import Bounds, Image, Spec
from agent_pipeline.sandbox.docker import Docker
image = Image(*{json.dumps([image.name, image.identity])}, Path({str(image.folder)!r}))
box = Docker(config.load())
assert box.available() is None
sandbox = box.start(Spec(image, Path({str(spec.workspace)!r}), Bounds(256, 64, "1", 16, 60), "test"))
print("up", flush=True)
time.sleep(600)
"""
    env = dict(os.environ) | {"DOCKER_HOST": far}
    with subprocess.Popen([sys.executable, "-c", program], env=env, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"up\n"
        assert len(left(far)[0]) == 2
        owner.kill()
    until = time.monotonic() + 5
    while left(far) != ([], []):
        assert time.monotonic() < until, left(far)
        time.sleep(0.05)
