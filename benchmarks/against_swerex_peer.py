"""SWE-ReX at work, one line at a time: `start`, `command`, `stop` on stdin; how long each took, in ms, on stdout.

Run by the interpreter of an environment that has `swe-rex`: `against_swerex_peer.py IMAGE PACKAGES SCRIPTS`. The
packages are mounted into the container, whose own Python runs the server: nothing is fetched at its start.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time

from swerex.deployment.docker import DockerDeployment
from swerex.runtime.abstract import BashAction, CreateBashSessionRequest

PORT = 8000  # the server's own


async def serve(image: str, packages: str, scripts: str) -> None:
    """Do what each line says."""
    deployment: DockerDeployment | None = None
    for line in sys.stdin:
        started = time.perf_counter()
        if line == "start\n":
            mounts = ["-v", f"{packages}:/opt/swerex:ro", "-v", f"{scripts}:/opt/swerex-scripts:ro"]
            path = ["-e", "PYTHONPATH=/opt/swerex", "-e", "PATH=/opt/swerex-scripts:/usr/local/bin:/usr/bin:/bin"]
            arguments = ["--network", "host", *mounts, *path]
            deployment = DockerDeployment(image=image, pull="never", port=PORT, docker_args=arguments)
            await deployment.start()
            await deployment.runtime.create_session(CreateBashSessionRequest())
        elif deployment is None:
            sys.exit("not started")
        elif line == "stop\n":
            await deployment.stop()
        if line in ("start\n", "command\n"):
            assert deployment is not None
            done = await deployment.runtime.run_in_session(BashAction(command="true"))
            assert done.exit_code == 0
        print(1000 * (time.perf_counter() - started), flush=True)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(serve(*sys.argv[1:4]))
