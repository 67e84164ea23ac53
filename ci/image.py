"""The image's part of `make setup`, inside the environment: `python ci/image.py ENGINE FILE` writes its folder to FILE.

When the mirror no longer has the locked packages, or the recipe moved on from its lock, it says so and takes what can
be made now, for this machine alone; the lock in the repository changes by `ci/relock.py` only.
"""

from __future__ import annotations

import sys
from pathlib import Path

from agent_pipeline import config as configuration
from agent_pipeline.config import Config
from agent_pipeline.errors import AgentPipelineError, UnavailableError
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images import build, docker_load, locks, unpack
from agent_pipeline.sandbox.images.store import Store

NAME = "python"


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"setup: {'image':<12} {text.removeprefix(f'image {NAME}: ')}", flush=True)


def main() -> int:
    """Make or find the image, and hand it to the engine."""
    config = configuration.load()
    try:
        image = make(config)
        hand_over(config, image, sys.argv[1])
    except AgentPipelineError as error:
        say(f"{error.message}" + (f"\n  next: {error.hint}" if error.hint else ""))
        return error.exit_code
    Path(sys.argv[2]).write_text(str(image.folder), encoding="utf-8")
    return 0


def make(config: Config) -> Image:
    """Return the locked image, or the one that takes its place on this machine."""
    try:
        return build.ensure(config, NAME, say)[1]
    except locks.OtherArchitectureError as error:
        say(f"{error.message}: making one with an identity of its own")
        return Store(config).require(NAME, build.build(config, NAME, say, relock=True))
    except locks.OutdatedLockError as error:
        say(f"{error.message}; relocked on this machine: sha256:{error.made.identity[:12]}")
        return Store(config).require(NAME, locks.relock(config, error))


def hand_over(config: Config, image: Image, engine: str) -> None:
    """Load or unpack it now, so that the first request need not wait."""
    if engine == "bubblewrap":
        unpack.rootfs(config, image)
        return
    import docker  # noqa: PLC0415 - only for this engine
    from docker.errors import DockerException  # noqa: PLC0415 - the same

    try:
        client = docker.from_env()
        try:
            docker_load.ensure(client, image)
        finally:
            client.close()
    except DockerException as error:
        raise UnavailableError(f"the Docker engine does not answer: {error}", hint="`docker info`") from error


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
