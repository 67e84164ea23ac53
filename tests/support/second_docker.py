"""A second Docker engine of our own, with its own data, in a mount namespace where something else is seen."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def second_docker(before: str, *options: str) -> Iterator[str]:
    """Start it once the shell has done `before` in that namespace, and hand out its address.

    `$0` is a directory of its own, outside of `/tmp`.
    """
    folder = Path(tempfile.mkdtemp(prefix="agent-pipeline-far-", dir="/var/tmp"))
    folder.chmod(0o711)  # an engine that maps users gives its rights up on the way in
    command = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        f'set -e; {before}; exec "$@"',
        str(folder),
    ]
    command += ["dockerd", f"--data-root={folder}/data", f"--exec-root={folder}/run", f"--pidfile={folder}/pid"]
    command += [f"--host=unix://{folder}/sock", "--bridge=none", "--iptables=false", "--ip6tables=false"]
    command += ["--containerd-namespace=far", "--containerd-plugins-namespace=far-plugins", *options]
    with (folder / "log").open("wb") as log:
        engine = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        while not (folder / "sock").exists():
            assert engine.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.05)
        yield f"unix://{folder}/sock"
    finally:
        beside = folder / "run/containerd/containerd.pid"  # which it started
        engine.kill()  # an orderly end takes it 20 seconds; nothing runs there any more
        engine.wait(timeout=20)
        if beside.exists():
            os.kill(int(beside.read_text()), signal.SIGKILL)
        shutil.rmtree(folder)
