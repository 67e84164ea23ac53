"""What containing an agent costs, against the Docker engine alone.

`idle-agent`, `tool-call`, `ready`, `ready-bubblewrap`, `side-by-side`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import docker

from agent_pipeline import clock, process
from agent_pipeline import config as configuration
from agent_pipeline.policy import load, starter
from agent_pipeline.repository import fresh
from agent_pipeline.repository.clone import Clone
from agent_pipeline.sandbox.contract import UID, Bounds, Engine, Image, Sandbox, Spec
from agent_pipeline.sandbox.engines import engine
from agent_pipeline.sandbox.images import docker_load
from agent_pipeline.sandbox.images.build import ensure
from agent_pipeline.workspace import Workspace, create
from agent_pipeline.workspace.proposing import collect
from benchmarks.measure import Result, in_turn

BOUNDS = Bounds(memory_mb=512, pids=128, cpus="1", disk_mb=256, seconds=300)
RUNS = 8
HARDENED: dict[str, Any] = {
    "network_mode": "none",
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "read_only": True,
    "user": f"{UID}:{UID}",
    "mem_limit": "512m",
    "memswap_limit": "512m",
    "pids_limit": 128,
    "nano_cpus": 1_000_000_000,
    "tmpfs": {"/tmp": "size=64m"},  # noqa: S108 - inside the container
    "entrypoint": [],
}


def _say_nothing(line: str) -> None:
    del line


def copy_of(config: configuration.Config, clone: Clone, tree: str, box: Engine) -> AbstractContextManager[Workspace]:
    """Make the virtual copy of a whole tree for `box`."""
    return create(
        clone,
        tree,
        may_read=lambda _: True,
        scope="all",
        lowers=config.lowers,
        parent=config.runs,
        disk_mb=64,
        uid=UID,
        reach=box.reach,
    )


def _bench(stack: ExitStack) -> tuple[configuration.Config, Engine, Image, Clone, Any, str]:
    """Return what both sides use: engine, image, a small repository, and the Docker SDK with the image loaded."""
    config = configuration.load()
    _, image = ensure(config, "python", _say_nothing)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    fresh.initialise(folder, "Bench", "bench@example.org")
    for number in range(20):
        (folder / f"module_{number}.py").write_text("x = 1\n")
    fresh.commit_all(folder, "A small project\n", clock.now())
    client = docker.from_env()
    stack.callback(client.close)
    return config, engine("docker", config), image, Clone.discover(folder), client, docker_load.ensure(client, image)


def tool_call() -> Result:
    """One `true` through the frame agent, against the same by an exec of the Docker SDK in the same image.

    Twenty calls one after another, as an agent makes them, then twenty execs: each call is a figure, the first ones
    too, for which the execs and the pause have left the processor cold. The pause is there because the engine still
    tidies up after its execs for a while, which is not ours to pay.
    """
    with ExitStack() as stack:
        config, box, image, clone, client, loaded = _bench(stack)
        tree = clone.tree(clone.commit("HEAD"))
        workspace = stack.enter_context(copy_of(config, clone, tree, box))
        sandbox = stack.enter_context(
            box.start(Spec(image, workspace.path, BOUNDS, "bench", namespace=workspace.namespace))
        )
        container = client.containers.run(loaded, ["sleep", "300"], detach=True, init=True, **HARDENED)
        stack.callback(container.remove, force=True)
        return in_turn(
            "tool-call",
            lambda: sandbox.run(["true"], seconds=10),
            lambda: container.exec_run(["true"]),
            peer_name="docker SDK exec_run",
            runs=15,
            inner=20,
            apart=True,
            between=lambda: clock.sleep(0.1),
        )


def idle_agent() -> Result:
    """The pipeline around an agent that does nothing, against a bare hardened `docker run` of the same image."""
    with ExitStack() as stack:
        config, box, image, clone, client, loaded = _bench(stack)
        tree = clone.tree(clone.commit("HEAD"))
        policy = load(starter.render(starter.Start(("true",), 1, (), (), {}, ("fix@1",), "python")))

        def ours() -> None:
            with copy_of(config, clone, tree, box) as workspace:
                with box.start(Spec(image, workspace.path, BOUNDS, "bench", namespace=workspace.namespace)) as sandbox:
                    sandbox.run(["true"], seconds=10)
                collect(clone, workspace, policy)

        def peer() -> None:
            client.containers.run(loaded, ["true"], remove=True, **HARDENED)

        return in_turn("idle-agent", ours, peer, peer_name="docker run --rm, hardened, by the SDK", runs=10)


def _ready(name: str, engine_name: str) -> Result:
    """From nothing to the first command's result, walls proven; against `docker run` from nothing to its end."""
    with ExitStack() as stack:
        config, _, image, clone, _, loaded = _bench(stack)
        box, started = engine(engine_name, config), list[Sandbox]()
        tree = clone.tree(clone.commit("HEAD"))
        workspace = stack.enter_context(copy_of(config, clone, tree, box))
        spec = Spec(image, workspace.path, BOUNDS, "bench", namespace=workspace.namespace)

        def ours() -> None:
            started.append(box.start(spec))
            started[-1].run(["true"], seconds=10)

        def peer() -> None:
            command = ["docker", "run", "--rm", "--network", "none", loaded, "true"]
            done = process.run(command, env=process.inherited("PATH", "HOME", "DOCKER_HOST"))
            assert done.ok, done.explain()

        named = "docker run --rm --network none, by the CLI"
        return in_turn(name, ours, peer, peer_name=named, runs=15, after=lambda: started.pop().close())


def ready() -> Result:
    """As `_ready`, on Docker."""
    return _ready("ready", "docker")


def ready_bubblewrap() -> Result:
    """As `_ready`, on bubblewrap, against the same peer."""
    return _ready("ready-bubblewrap", "bubblewrap")


def side_by_side() -> Result:
    """Eight whole runs at once (copy, start, command, end, harvest), against eight containers of the engine at once."""
    with ExitStack() as stack:
        config, box, image, clone, client, loaded = _bench(stack)
        tree = clone.tree(clone.commit("HEAD"))
        policy = load(starter.render(starter.Start(("true",), 1, (), (), {}, ("fix@1",), "python")))
        pool = stack.enter_context(ThreadPoolExecutor(RUNS))

        def one(number: int) -> None:
            mine = Clone.discover(clone.path)
            with copy_of(config, mine, tree, box) as workspace:
                spec = Spec(image, workspace.path, BOUNDS, f"bench-{number}", namespace=workspace.namespace)
                with box.start(spec) as sandbox:
                    sandbox.run(["true"], seconds=10)
                collect(mine, workspace, policy)

        def container(_: int) -> None:
            client.containers.run(loaded, ["true"], remove=True, **HARDENED)

        return in_turn(
            "side-by-side",
            lambda: list(pool.map(one, range(RUNS))),
            lambda: list(pool.map(container, range(RUNS))),
            peer_name="8 hardened containers at once, by the SDK",
            runs=7,
        )


ALL: dict[str, Callable[[], Result]] = {
    "idle-agent": idle_agent,
    "tool-call": tool_call,
    "ready": ready,
    "ready-bubblewrap": ready_bubblewrap,
    "side-by-side": side_by_side,
}
