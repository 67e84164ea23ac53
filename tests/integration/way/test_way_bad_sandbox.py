"""Engines and images that are not there or not the right ones: nothing is run anywhere else instead."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest
from support.desks import POLICY, Desk, refused, request_line
from support.people import FIX

from agent_pipeline.config import load as load_config

pytestmark = pytest.mark.containers

LOCKS = ".agent-pipeline/images.lock.json"


@pytest.fixture
def nowhere(desk: Desk) -> dict[str, str]:
    """An environment in which there is neither Docker nor bubblewrap."""
    tools = desk.top / "bin"
    tools.mkdir()
    for name in ("git", "sh", "mount", "umount"):
        (tools / name).symlink_to(str(shutil.which(name)))
    return {"PATH": str(tools), "DOCKER_HOST": f"unix://{desk.top}/no.sock"}


def recorded(desk: Desk) -> list[str]:
    return [ref for ref in desk.refs() if ref.startswith("refs/agent-pipeline/")]


@pytest.mark.parametrize("options", [(), ("--sandbox", "docker"), ("--sandbox", "bubblewrap")])
def test_no_engine(desk: Desk, nowhere: dict[str, str], options: tuple[str, ...]) -> None:
    done = desk.run("request", "x", "--kind", "refactor", *options, "--", "true", **nowhere)
    wanted = options[-1:] or ("docker", "bubblewrap")
    refused(done, 3, "no sandbox engine works here", *(f"{name}: " for name in wanted), "agent-pipeline doctor")
    assert recorded(desk) == []


def test_no_engine_for_init(desk: Desk, nowhere: dict[str, str]) -> None:
    desk.person.git("rm", "-q", "-r", ".agent-pipeline")
    desk.person.git("commit", "-q", "-m", "No rules")
    before = desk.refs()
    refused(desk.run("init", **nowhere), 3, "no sandbox engine works here")
    assert desk.refs() == before


def test_doctor_says_what_is_missing(desk: Desk, nowhere: dict[str, str]) -> None:
    done = desk.run("doctor", **nowhere)
    assert done.code == 1, str(done)
    findings = {finding["name"]: finding for finding in done.document["findings"]}
    assert not findings["sandbox"]["ok"]
    assert findings["sandbox"]["mend"]
    assert "not found" in findings["bubblewrap"]["said"]
    assert findings["git"]["ok"]


def test_no_engine_when_ci_replays(desk: Desk, nowhere: dict[str, str]) -> None:
    """What could not be told is neither staged nor rejected: the same proposal passes where there is an engine."""
    before = proposed(desk)
    request = desk.run("list").document["requests"][0]["id"]
    done = desk.run("ci", "run", **nowhere)
    assert done.code == 3, str(done)
    assert done.document["results"][0]["verdict"] == "unknown"
    assert "no sandbox engine works here" in json.dumps(done.document)
    landed = desk.run("land", request, **nowhere)
    refused(landed, 3, "no sandbox engine works here")
    assert desk.refs() == before
    assert desk.run("ci", "run").document["results"][0]["verdict"] == "passed"


def proposed(desk: Desk) -> dict[str, str]:
    """Bring a request to the point where only CI's part is missing, and return all refs."""
    assert desk.request().code == 0
    tip = next(ref for ref in desk.refs() if ref.startswith("refs/agent-pipeline/requests/"))
    desk.person.git("update-ref", tip, f"{tip}^1")  # the record as the runner left it
    desk.person.git("update-ref", "-d", "refs/agent-pipeline/log")
    desk.person.git("branch", "-q", "-D", f"agent/{tip.rsplit('/', 1)[1]}")
    return desk.refs()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "ssh://nobody@127.0.0.1", "nonsense"])
def test_an_engine_that_is_not_on_this_host(desk: Desk, address: str) -> None:
    done = desk.run("request", "x", "--kind", "refactor", "--sandbox", "docker", "--", "true", DOCKER_HOST=address)
    refused(done, 3, "docker: ", "DOCKER_HOST" if "://" in address else "")


def test_an_engine_that_hangs(desk: Desk) -> None:
    """A socket that takes connections and says nothing is no engine, after a bounded time."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{desk.top}/hangs.sock")
        listener.listen()
        done = desk.run("request", "x", "--kind", "refactor", "--", "true", DOCKER_HOST=f"unix://{desk.top}/hangs.sock")
    Path(f"{desk.top}/hangs.sock").unlink()
    refused(done, 1, "nothing was changed")
    assert "contain: bubblewrap" in done.err


def test_an_engine_that_the_policy_does_not_allow(desk: Desk) -> None:
    desk.edit_policy(("backends: [docker, bubblewrap]", "backends: [docker]"))
    refused(desk.request(), 1, "bubblewrap", "sandbox.backends")
    assert recorded(desk) == []


def test_a_bound_that_cannot_be_held(desk: Desk) -> None:
    """A policy that demands a runtime which this engine does not have is not run without it."""
    desk.edit_policy(("image: project", "image: project\n  runtime: runsc"))
    refused(desk.request(), 3, "runsc")


def empty_store(desk: Desk) -> Path:
    """Give the desk images of its own: none."""
    images = desk.top / "cache" / "images"
    images.unlink()
    images.mkdir()
    (desk.top / "cache" / "rootfs").unlink()
    return images


def test_an_image_that_is_missing(desk: Desk) -> None:
    empty_store(desk)
    for argv in (request_line("pass"), request_line("pass", "--sandbox", "docker")):
        refused(desk.run(*argv), 3, "image", "not on this machine", "agent-pipeline image")
    assert recorded(desk) == []
    assert desk.run("image", "list").document == {"images": []}


def test_an_image_that_is_not_the_locked_one(desk: Desk) -> None:
    locks = json.loads((desk.clone / LOCKS).read_text())
    locks["images"]["project"]["identity"] = "0" * 64
    (desk.clone / LOCKS).write_text(json.dumps(locks))
    desk.person.git("commit", "-q", "-am", "Another image")
    refused(desk.request(), 3, "project", "000000000000", "agent-pipeline image import")
    assert recorded(desk) == []


def test_an_image_that_the_lock_does_not_have(desk: Desk) -> None:
    desk.edit_policy(("image: project", "image: nothing"))
    refused(desk.request(), 1, "nothing", "lock")


def test_an_image_that_was_changed_on_disk(desk: Desk) -> None:
    images = empty_store(desk)
    locked = json.loads((desk.clone / LOCKS).read_text())["images"]["project"]["identity"]
    shutil.copytree(load_config().images / locked, images / locked)
    layer = max((images / locked / "layers").iterdir(), key=lambda path: path.stat().st_size)
    layer.chmod(0o644)
    with layer.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"another byte")
    refused(desk.request(), 3, "changed", str(images / locked))
    config = images / locked / "config.json"
    config.chmod(0o644)
    config.write_bytes(config.read_bytes() + b" ")
    refused(desk.request(), 3, "image")


def test_a_cache_that_the_sandbox_cannot_reach(desk: Desk) -> None:
    cache = desk.top / "closed"
    (cache / "runs").mkdir(parents=True)
    for kept in ("images", "rootfs"):
        (cache / kept).symlink_to(load_config().cache_dir / kept)
    cache.chmod(0o700)
    done = desk.request(AGENT_PIPELINE_CACHE=str(cache))
    refused(done, 3, str(cache), "AGENT_PIPELINE_CACHE")
    assert list((cache / "runs").iterdir()) == []


def test_a_project_that_cannot_be_set_up(desk: Desk) -> None:
    desk.edit_policy(("  run: []\n  env: {PYTHONPATH", '  run: [["false"]]\n  env: {PYTHONPATH'))
    refused(desk.request(FIX), 3, "`false`: exit 1", "`setup`")
    assert (desk.clone / POLICY).exists()
