"""The commands for people: `shell`, `sandbox sweep`, `image rm`, as a person starts them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import images
from support.desks import Desk, initialised
from support.leftovers import leftovers

from agent_pipeline import clock
from agent_pipeline import config as configuration
from agent_pipeline.config import Config
from agent_pipeline.sandbox import cgroups, engines, intents
from agent_pipeline.sandbox import container as container_of
from agent_pipeline.sandbox.contract import Spec
from agent_pipeline.sandbox.images import build, docker_load
from agent_pipeline.sandbox.images.layers import DIRECTORY, Entry
from agent_pipeline.sandbox.images.store import Store
from agent_pipeline.workspace import places

pytestmark = pytest.mark.containers


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with initialised() as restored:
        yield restored()


def on_a_terminal(desk: Desk, argv: list[str], *script: tuple[str, bytes], seconds: float = 60) -> tuple[int, bytes]:
    """Run a command as a person does; type each line once the terminal shows what it waits for."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(desk.clone)
        os.execve(sys.executable, [sys.executable, "-P", "-m", "agent_pipeline", *argv], desk.person.env)  # noqa: S606
    shown, todo, until = b"", list(script), clock.monotonic() + seconds
    while clock.monotonic() < until:
        if select.select([master], [], [], 0.1)[0]:
            try:
                shown += os.read(master, 65536)
            except OSError:
                break
        if todo and re.search(todo[0][0].encode(), shown):
            os.write(master, todo.pop(0)[1])
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown


@pytest.mark.parametrize("engine", ["docker", "bubblewrap"])
def test_a_shell_on_head_and_nothing_is_kept(desk: Desk, engine: str) -> None:
    before = {path: path.read_bytes() for path in desk.clone.rglob("*") if path.is_file() and ".git" not in path.parts}
    code, shown = on_a_terminal(
        desk,
        ["shell", "--sandbox", engine],
        (r"/workspace\$ ", b"ls -a | tr '\\n' ,; echo x >>README.md; touch new; exit 5\n"),
    )
    assert code == 0, shown
    assert b"ended with 5" in shown
    assert b".git," not in shown
    assert b".env," not in shown
    after = {path: path.read_bytes() for path in desk.clone.rglob("*") if path.is_file() and ".git" not in path.parts}
    assert after == before
    assert leftovers(desk.top) == []


def test_a_shell_on_a_proposals_tree(desk: Desk) -> None:
    made = desk.request()
    assert made.code == 0, str(made)
    document = json.loads(made.out)
    path = document["paths"][0]
    code, shown = on_a_terminal(
        desk,
        ["shell", document["id"], "--sandbox", "bubblewrap"],
        (r"/workspace\$ ", f"sha256sum {path}; exit\n".encode()),
    )
    assert code == 0, shown
    changed = desk.person.git("cat-file", "-p", f"{document['tree']}:{path}")
    assert changed
    assert hashlib.sha256(changed.encode()).hexdigest().encode() in shown


def test_without_a_terminal_a_shell_is_used_wrongly(desk: Desk) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "agent_pipeline", "shell", "--json"],
        cwd=desk.clone, env=desk.person.env, capture_output=True, text=True, check=False, start_new_session=True,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "terminal" in json.loads(done.stdout)["error"]["message"]
    assert leftovers(desk.top) == []


def test_sweep_removes_what_the_dead_left_and_nothing_of_the_living(desk: Desk) -> None:
    runs = desk.top / "cache" / "runs"
    assert json.loads(desk.run("sandbox", "sweep").out)["removed"] == []
    name = cgroups.label("test")
    folders = [place / name for place in (hierarchy.own for hierarchy in cgroups.hierarchies())]
    living = cgroups.label("alive")
    with intents.intent(runs, "group", ()):
        alive = next(runs.glob("*.intent"))
        alive.write_text(f"group\n{folders[0].parent / living}")
        made = folders[0]
        made.mkdir()
        dead = runs / "0123.intent"
        dead.write_text(f"group\n{made}")
        copy = runs / f"{places.PREFIX}0123"
        copy.mkdir()
        copy.with_name(f"{copy.name}{places.LOCK}").touch()
        removed = json.loads(desk.run("sandbox", "sweep").out)["removed"]
        assert removed == [str(made), str(copy)]
        assert not made.exists()
        assert not copy.exists()
        assert alive.exists()
    assert json.loads(desk.run("sandbox", "sweep").out)["removed"] == []


def test_sweep_goes_by_labels_and_leases(desk: Desk, spec: Spec, config: Config) -> None:
    """A container that outlived its owner is removed by whoever has its lease; nobody else touches it."""
    runs, name = desk.top / "cache" / "runs", f"agent-pipeline-test-{os.urandom(4).hex()}"
    sdk = container_of.connect(30)
    labels = {container_of.LABEL: "1", f"{container_of.LABEL}.name": name}
    made = {"Image": docker_load.ensure(sdk, spec.image), "Entrypoint": ["sleep", "300"], "Labels": labels}
    made["HostConfig"] = {"NetworkMode": "none"}
    with contextlib.closing(sdk), engines.engine("docker", config).start(spec) as living:
        sdk.api.create_container_from_config(made, name)
        sdk.api.start(name)
        said = desk.run("sandbox", "sweep")
        assert json.loads(said.out)["removed"] == []
        assert name in json.loads(said.out)["unknown"]
        assert f"not touched: {name}" in said.err or f", {name}" in said.err
        assert container_of.there(sdk, name)
        runs.mkdir(exist_ok=True)
        (runs / "0123.intent").write_text(f"container\n{name}\n+")
        started = clock.monotonic()
        assert json.loads(desk.run("sandbox", "sweep").out)["removed"] == [name]
        assert clock.monotonic() - started < 10
        assert not container_of.there(sdk, name)
        assert living.run(["echo", "alive"], seconds=10).output == b"alive\n"


def test_images_are_removed_and_those_in_need_refused(desk: Desk, tmp_path: Path) -> None:
    locked, _ = build.ensure(configuration.load(), "python", lambda _: None)
    kept = desk.run("image", "rm", locked.identity)
    assert kept.code == 1
    error = json.loads(kept.out)["error"]
    assert Store(configuration.load()).get(locked.identity) is not None
    assert "locked image of this program" in error["message"]
    assert "--force" in error["hint"]
    top = tmp_path / "own"
    config: Config = images.config(top)
    base = images.add(Store(config), [Entry("usr", DIRECTORY)], name="base")
    other = images.add(
        Store(config), [Entry("usr", DIRECTORY)], [Entry("opt", DIRECTORY)], name="more", base=base.identity
    )
    env = {"AGENT_PIPELINE_CACHE": str(config.cache_dir)}
    assert "more" in json.loads(desk.run("image", "rm", "base", **env).out)["error"]["message"]
    done = desk.run("image", "rm", other.identity[:12], **env)
    assert done.code == 0, str(done)
    assert [image.name for image in Store(config).list()] == ["base"]
    assert desk.run("image", "rm", "more", **env).code == 2
    assert desk.run("image", "rm", "base", **env).code == 0
    assert Store(config).list() == ()
