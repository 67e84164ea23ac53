"""`swerex-start` and `swerex-command`: the same image under SWE-ReX, with its server inside, as its users start it.

Its environment is its own and lies in the cache; `pip` fetches it once. Start means: a container, its server, a shell
session, and the first `true` in it. Ours has no network, no rights and proven walls by then; SWE-ReX's has the host's
network here (which starts faster than the bridge that it would publish a port on), on loopback alone.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import docker

from agent_pipeline import config as configuration
from agent_pipeline import process
from agent_pipeline.sandbox.contract import Sandbox, Spec
from agent_pipeline.sandbox.engines import engine
from agent_pipeline.sandbox.images import docker_load
from agent_pipeline.sandbox.images.build import ensure
from agent_pipeline.sandbox.layout import group, is_root, owner
from benchmarks.measure import Result, in_turn
from benchmarks.sandboxed import BOUNDS

VERSION = "1.4.0"
_START = (
    '#!/bin/sh\nexec python3 -c "import sys; from swerex.server import main; sys.exit(main())" --host 127.0.0.1 "$@"\n'
)


class Peer:
    """The other side, in a process of its own."""

    def __init__(self, image: str, home: Path) -> None:
        """Start it; `home` is its environment."""
        packages = next((home / "lib").glob("python*/site-packages"))
        script = Path(__file__).with_name("against_swerex_peer.py")
        command = [str(home / "bin/python"), "-P", str(script), image, str(packages), str(home / "scripts")]
        env = process.inherited("PATH", "HOME", "DOCKER_HOST")
        self._process = process.spawn(command, env=env, stderr=False)

    def ask(self, word: str) -> float:
        """Have it do something; return its own measure, in ms."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n".encode())
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        process.kill_group(self._process)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _home(config: configuration.Config) -> Path:
    """Return SWE-ReX's environment, made now when it is not there."""
    home = config.cache_dir / "benchmarks" / f"swe-rex-{VERSION}"
    if not (home / "whole").exists():
        env = process.inherited("PATH", "HOME", "PIP_INDEX_URL", "PIP_CONFIG_FILE", "SSL_CERT_FILE", "HTTPS_PROXY")
        for command in (  # `swe-rex` imports aiohttp, and does not say so
            [sys.executable, "-m", "venv", "--clear", str(home)],
            [str(home / "bin/python"), "-m", "pip", "install", "--quiet", f"swe-rex=={VERSION}", "aiohttp"],
        ):
            done = process.run(command, env=env, timeout=600)
            assert done.ok, done.explain()
        (home / "scripts").mkdir(exist_ok=True)
        (home / "scripts/swerex-remote").write_text(_START)
        (home / "scripts/swerex-remote").chmod(0o755)
        (home / "whole").touch()
    return home


def _bench(stack: ExitStack) -> tuple[Callable[[], Sandbox], Peer]:
    """Return what starts one of ours, and the peer."""
    config = configuration.load()
    _, image = ensure(config, "python", lambda _: None)
    client = docker.from_env()
    stack.callback(client.close)
    loaded = docker_load.ensure(client, image)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    if is_root():
        os.chown(folder, owner(), group())
    peer = Peer(loaded, _home(config))
    stack.callback(peer.close)
    box = engine("docker", config)
    return lambda: box.start(Spec(image, folder, BOUNDS, "bench")), peer


def start() -> Result:
    """From nothing to the first command's result."""
    with ExitStack() as stack:
        begin, peer = _bench(stack)
        started: list[Sandbox] = []

        def ours() -> None:
            started.append(begin())
            started[-1].run(["true"], seconds=10)

        def theirs() -> float:
            took = peer.ask("start")
            peer.ask("stop")
            return took

        named = f"swe-rex {VERSION}, DockerDeployment"
        return in_turn("swerex-start", ours, theirs, peer_name=named, runs=5, after=lambda: started.pop().close())


def command() -> Result:
    """One `true` in what runs already."""
    with ExitStack() as stack:
        begin, peer = _bench(stack)
        sandbox = stack.enter_context(begin())
        peer.ask("start")
        stack.callback(peer.ask, "stop")
        return in_turn(
            "swerex-command",
            lambda: sandbox.run(["true"], seconds=10),
            lambda: peer.ask("command"),
            peer_name=f"swe-rex {VERSION}, run_in_session",
            runs=30,
        )


ALL: dict[str, Callable[[], Result]] = {"swerex-start": start, "swerex-command": command}
