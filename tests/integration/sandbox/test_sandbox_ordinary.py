"""What an ordinary user gets on this machine: `doctor` measures it, and a person's shell has the copy all the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.cells import OTHER_UID, interpreter
from support.gitrepos import make_project

from agent_pipeline.config import Config
from agent_pipeline.sandbox import cgroups, host
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images import unpack

pytestmark = [
    pytest.mark.containers,
    pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to become somebody else"),
]

SHELL = """
import os, sys
from pathlib import Path
import pygit2
from agent_pipeline import config
from agent_pipeline.policy import load, starter
from agent_pipeline.replay.checks import Bench
from agent_pipeline.replay.shell import open_shell
from agent_pipeline.repository.clone import Clone
from agent_pipeline.sandbox import engines
from agent_pipeline.sandbox.contract import Image
pygit2.option(pygit2.enums.Option.SET_OWNER_VALIDATION, 0)
folder, name, identity, image = sys.argv[1:]
class Screen:
    reader, writer = os.pipe()
    def descriptor(self): return self.reader
    def size(self): return 24, 80
    def typed(self): return os.read(self.reader, 4096)
    def show(self, data): sys.stdout.buffer.write(data)
os.write(Screen.writer, b"cat kept; ls -A; exit 6\\n")
settings, clone = config.load(), Clone.discover(Path(folder))
policy = load(starter.render(starter.Start(("true",), 1, (), (), {}, ("fix@1",), "python")))
box = engines.engine("bubblewrap", settings)
bench = Bench(clone, settings, policy, box, Image(name, identity, Path(image)), "shell-test", "1.0")
print("code", open_shell(bench, clone.tree(clone.commit("HEAD")), Screen(), print))
"""


def as_another(argv: list[str], cache: Path, cwd: Path, groups: str = "--clear-groups") -> str:
    env = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PATH": os.environ["PATH"]}
    env |= {"AGENT_PIPELINE_CACHE": str(cache), "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}
    drop = ["setpriv", f"--reuid={OTHER_UID}", f"--regid={OTHER_UID}", groups, "--no-new-privs"]
    done = subprocess.run(
        [*drop, interpreter(OTHER_UID), "-P", *argv],
        cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


@pytest.fixture
def cache(folder: Path, config: Config, image: Image) -> Path:
    path = folder / "cache"
    path.mkdir()
    (path / "rootfs").symlink_to(unpack.rootfs(config, image).parent)
    (path / "images").symlink_to(config.images)
    os.chown(path, OTHER_UID, OTHER_UID)
    return path


def test_doctor_measures_what_an_ordinary_user_has(cache: Path, folder: Path) -> None:
    document = json.loads(as_another(["-m", "agent_pipeline", "doctor", "--json"], cache, folder))
    (found,) = [finding for finding in document["findings"] if finding["name"] == "bubblewrap"]
    assert found["ok"]
    said = found["said"].splitlines()
    assert said[0].startswith("works: a sandbox proved its walls")
    assert said[0].endswith("; this host cannot enforce: memory, pids, cpu, swap, sockets")
    assert any(line.startswith("disk: by a tmpfs of the policy's size, in a user namespace") for line in said)
    assert found["mend"] == host.delegation()
    (other,) = [finding for finding in document["findings"] if finding["name"] == "docker"]
    assert "/var/run/docker.sock is closed to you; join its group (`usermod -aG " in other["said"]
    assert [path.name for path in (cache / "runs").iterdir()] == []


def test_doctor_says_what_an_ordinary_user_of_docker_cannot_bound(cache: Path, folder: Path) -> None:
    """Control groups of version 1 belong to root: what sockets queue is bounded by nobody there, and not in silence."""
    group = f"--groups={Path('/var/run/docker.sock').stat().st_gid}"
    document = json.loads(as_another(["-m", "agent_pipeline", "doctor", "--json"], cache, folder, group))
    (found,) = [finding for finding in document["findings"] if finding["name"] == "docker"]
    assert found["ok"], found["said"]
    said = found["said"].splitlines()
    if any(hierarchy.version == 1 and "memory" in hierarchy.controllers for hierarchy in cgroups.hierarchies()):
        assert "this host cannot enforce: sockets" in said[0]
        assert any(line.startswith("sockets: not held, the engine sets no such bound") for line in said)
        assert "run it as root" in found["mend"]
    else:
        assert "sockets" not in said[0]


def test_an_ordinary_users_shell_has_the_copy(cache: Path, folder: Path, image: Image) -> None:
    project = make_project(folder / "project", {"kept": b"the base's\n", ".env": b"s"})
    shown = as_another(["-c", SHELL, str(project.folder), image.name, image.identity, str(image.folder)], cache, folder)
    assert "the base's" in shown
    assert ".env\r" not in shown
    assert "code 6" in shown
    assert [path.name for path in (cache / "runs").iterdir()] == []
