"""Sandboxes in every mode that attacks are tried in: Docker, bubblewrap from root, bubblewrap from an ordinary user.

The ordinary user's runs in a process of that user's own, which starts it with the production engine and passes on
what it is asked; nothing else is different.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent_pipeline import process
from agent_pipeline.config import Config
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import engines, layout
from agent_pipeline.sandbox.contract import OUTPUT_LIMIT, Bounds, CommandResult, Image, Sandbox, Spec
from agent_pipeline.sandbox.images import unpack

MODES = ("docker", "bubblewrap-root", "bubblewrap-user")
BOUNDS = Bounds(memory_mb=256, pids=64, cpus="1", disk_mb=64, seconds=170)
OTHER_UID = 54_321

_SERVANT = """
import base64, json, sys
from pathlib import Path
from agent_pipeline import config
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import engines
from agent_pipeline.sandbox.contract import Bounds, Image, Spec
order = json.loads(sys.stdin.readline())
image = Image(*order["image"][:2], Path(order["image"][2]))
spec = Spec(image, Path(order["workspace"]), Bounds(**order["bounds"]), "attack")
def say(document):
    print(json.dumps(document), flush=True)
try:
    sandbox = engines.engine("bubblewrap", config.load()).start(spec)
except SandboxError as error:
    say({"error": error.message})
    sys.exit()
say({"unenforced": sandbox.facts.unenforced})
with sandbox:
    for line in sys.stdin:
        ask = json.loads(line)
        try:
            done = sandbox.run(ask["argv"], seconds=ask["seconds"], output_limit=ask["limit"])
            output = base64.b64encode(done.output).decode()
            flags = [done.truncated, done.timed_out]
            say({"code": done.code, "output": output, "flags": flags, "seconds": done.seconds})
        except SandboxError as error:
            say({"error": error.message})
"""


class Cell:
    """A started sandbox in one of the modes. `workspace` is its directory on the host."""

    def __init__(self, mode: str, config: Config, image: Image, **bounds: Any) -> None:
        self.mode = mode
        self.top = Path(tempfile.mkdtemp(prefix="agent-pipeline-attack-"))
        self.top.chmod(0o755)
        self.workspace = self.top / "workspace"
        self.workspace.mkdir()
        self._bounds = Bounds(**{name: bounds.get(name, getattr(BOUNDS, name)) for name in _FIELDS})
        try:
            self._box = self._start(config, image)
        except BaseException:
            shutil.rmtree(self.top)
            raise

    @property
    def unenforced(self) -> tuple[str, ...]:
        return self._box.unenforced if isinstance(self._box, _Servant) else self._box.facts.unenforced

    def run(self, argv: Sequence[str], *, seconds: float = 30, output_limit: int = OUTPUT_LIMIT) -> CommandResult:
        return self._box.run(argv, seconds=seconds, output_limit=output_limit)

    def python(self, code: str, *argv: str, seconds: float = 30) -> CommandResult:
        return self.run(["python3", "-I", "-S", "-c", code, *argv], seconds=seconds)

    def alive(self) -> bool:
        try:
            return self.run(["echo", "alive"], seconds=20).output == b"alive\n"
        except SandboxError:
            return False

    def close(self) -> None:
        self._box.close()
        if self.top.exists():
            shutil.rmtree(self.top)

    def _start(self, config: Config, image: Image) -> Sandbox | _Servant:
        if self.mode == "bubblewrap-user" and os.geteuid() == 0:
            os.chown(self.workspace, OTHER_UID, OTHER_UID)
            return _Servant(self.top, config, image, self.workspace, self._bounds)
        if os.geteuid() == 0:
            os.chown(self.workspace, layout.owner(), layout.group())
        name = self.mode.split("-")[0]
        return engines.engine(name, config).start(Spec(image, self.workspace, self._bounds, "attack"))


_FIELDS = ("memory_mb", "pids", "cpus", "disk_mb", "seconds", "require")


class _Servant:
    """The process of the ordinary user."""

    def __init__(self, top: Path, config: Config, image: Image, workspace: Path, bounds: Bounds) -> None:
        cache = top / "cache"
        cache.mkdir()
        (cache / "rootfs").symlink_to(unpack.rootfs(config, image).parent)
        os.chown(cache, OTHER_UID, OTHER_UID)
        user = ["setpriv", f"--reuid={OTHER_UID}", f"--regid={OTHER_UID}", "--clear-groups", "--no-new-privs"]
        env = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PATH": os.environ["PATH"]}
        env |= {"AGENT_PIPELINE_CACHE": str(cache), "HOME": "/nonexistent"}
        self._process = process.spawn([*user, interpreter(OTHER_UID), "-P", "-c", _SERVANT], env=env, stderr=True)
        order: Mapping[str, Any] = {
            "image": [image.name, image.identity, str(image.folder)],
            "workspace": str(workspace),
            "bounds": {name: getattr(bounds, name) for name in _FIELDS},
        }
        try:
            self.unenforced = tuple(self._ask(order)["unenforced"])
        except BaseException:
            self.close()
            raise

    def run(self, argv: Sequence[str], *, seconds: float, output_limit: int) -> CommandResult:
        said = self._ask({"argv": list(argv), "seconds": seconds, "limit": output_limit})
        return CommandResult(said["code"], base64.b64decode(said["output"]), *said["flags"], said["seconds"])

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        if not self._process.stdin.closed:
            self._process.stdin.close()
            self._process.wait(timeout=30)
            self._process.stdout.close()
            self._process.stderr.close()

    def _ask(self, document: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._process.stdin.write(json.dumps(document).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self._process.stderr.read().decode()
        said = json.loads(line)
        if "error" in said:
            raise SandboxError(said["error"])
        return said


def interpreter(uid: int) -> str:
    """Return an interpreter that this user may execute: ours may lie below root's home."""
    for candidate in (sys.executable, "/usr/bin/python3"):
        tried = process.run(["setpriv", f"--reuid={uid}", "--clear-groups", candidate, "-c", ""], env={}, timeout=20)
        if tried.ok:
            return candidate
    raise AssertionError("no interpreter that another user may execute")
