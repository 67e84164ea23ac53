"""One door: no second way to a private key or a signature, and what walks through the door leaves nothing behind."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import leaks
from support.keyrings import hostile_agent

import agent_pipeline
from agent_pipeline import process
from agent_pipeline.signing import boxes, child

ROOM = Path(agent_pipeline.__file__).parent
# Who may speak of private keys at all: the modules of the signing child.
CHILD = {"signing/__main__.py", "signing/keyfile.py", "signing/ssh_agent.py", "signing/stores.py", "signing/tokens.py"}
SIGNS = CHILD | {"signing/client.py"}
WORDS = {"pkcs11", "asyncssh", "paramiko", "nacl", "gnupg", "securesystemslib"}


def second_ways(name: str, text: str) -> Iterator[str]:
    """Return what in a module's text signs, or opens a private key, past the one door."""
    tree = ast.parse(text)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    imported = {alias.asname or alias.name for node in imports for alias in node.names}  # functions of other modules
    for node in ast.walk(tree):
        where = f"{name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom) and name not in CHILD:
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            names = [alias.name for alias in node.names]
            if any(module.split(".")[0] in WORDS for module in modules):
                yield f"{where}: imports {modules}"
            if any("PrivateKey" in word or "private_key" in word for word in names):
                yield f"{where}: imports {names}"
        elif isinstance(node, ast.Attribute):
            function = isinstance(node.value, ast.Name) and node.value.id in imported
            if node.attr == "sign" and name not in SIGNS and not function:
                yield f"{where}: signs"
            if "private_" in node.attr and name not in CHILD:
                yield f"{where}: {node.attr}"
        elif isinstance(node, ast.Constant) and node.value in ("ssh-keygen", "gpg", "ssh-add", "--gpg-sign"):
            yield f"{where}: runs {node.value}"


def test_there_is_no_second_way_to_sign() -> None:
    found = []
    for path in sorted(ROOM.rglob("*.py")):
        found += second_ways(str(path.relative_to(ROOM)), path.read_text(encoding="utf-8"))
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "key.sign(b'x')",
        "from cryptography.hazmat.primitives.serialization import load_ssh_private_key",
        "from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey as K",
        "import pkcs11.util",
        "run(['ssh-keygen', '-Y', 'sign'])",
        "key.private_bytes_raw()",
        "run(['git', 'commit', '--gpg-sign'])",
    ],
)
def test_a_second_way_would_be_found(text: str) -> None:
    assert list(second_ways("merge/elsewhere.py", text))


def protected(pid: int) -> bool:
    """Whether a signing child has come so far that it leaves no core dump."""
    limits = Path(f"/proc/{pid}/limits").read_text(encoding="ascii").lower()
    return re.search(r"core file size +0 +0 ", limits) is not None


@pytest.fixture
def waiting() -> Iterator[tuple[process.Process, int]]:
    """A signing child that has protected itself and waits for its document."""
    box = boxes.new(b"x")
    held = os.open("/dev/null", os.O_RDONLY)  # ours, and none of the child's business
    argv = (sys.executable, "-P", "-m", "agent_pipeline.signing")
    running = process.spawn(argv, env=child.environment(), cwd=Path("/"), pass_fds=[box])
    try:
        end = time.monotonic() + 20
        while not protected(running.pid):
            assert time.monotonic() < end
            time.sleep(0.02)
        yield running, box
    finally:
        process.kill_group(running)
        for pipe in (running.stdin, running.stdout):
            assert pipe is not None
            pipe.close()
        os.close(held)


def test_the_child_has_no_descriptors_and_no_environment_of_ours(waiting: tuple[process.Process, int]) -> None:
    running, box = waiting
    time.sleep(0.05)
    assert {int(path.name) for path in Path(f"/proc/{running.pid}/fd").iterdir()} == {0, 1, 2, box}
    names = {item.partition(b"=")[0] for item in Path(f"/proc/{running.pid}/environ").read_bytes().split(b"\0") if item}
    assert names <= {b"HOME", b"PYTHONPATH", b"PYTHONDONTWRITEBYTECODE", b"LC_ALL", b"SOFTHSM2_CONF"}


def test_the_child_ends_with_its_input(waiting: tuple[process.Process, int]) -> None:
    running, _ = waiting
    assert running.stdin is not None
    running.stdin.close()
    assert running.wait(timeout=20) != 0


def test_the_child_s_memory_is_closed_to_others(waiting: tuple[process.Process, int]) -> None:
    """What belongs to root in /proc is closed to everybody but root, who may do anything."""
    running, _ = waiting
    time.sleep(0.05)
    assert Path(f"/proc/{running.pid}/mem").stat().st_uid == 0
    if os.geteuid() != 0:
        with pytest.raises(PermissionError):
            Path(f"/proc/{running.pid}/mem").read_bytes()


def test_the_child_does_not_outlive_who_asked(tmp_path: Path) -> None:
    """Killed while the child waits for an agent that never answers: nothing is left that could still sign."""
    program = (
        "import sys; from agent_pipeline.signing.client import Signer; Signer('agent:SHA256:' + 43 * 'A').public()"
    )
    with hostile_agent(tmp_path / "a", silent) as at:
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        asking = subprocess.Popen([sys.executable, "-c", program], env=env | {"SSH_AUTH_SOCK": str(at)})
        try:
            signing = until_signing(asking.pid)
            asking.send_signal(signal.SIGKILL)
            asking.wait()
            end = time.monotonic() + 2
            while Path(f"/proc/{signing}").exists() and time.monotonic() < end and not zombie(signing):
                time.sleep(0.02)
            assert not Path(f"/proc/{signing}").exists() or zombie(signing)
        finally:
            with contextlib.suppress(ProcessLookupError):
                asking.kill()


def silent(connection: socket.socket) -> None:
    """Hear everything and never answer, until the other side is gone."""
    while connection.recv(4096):
        pass


def until_signing(pid: int) -> int:
    """Wait until a process has a signing child that has protected itself; return the child's id."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for below in leaks.descendants(pid) - {pid}:
            with contextlib.suppress(OSError):
                if b"agent_pipeline.signing" in Path(f"/proc/{below}/cmdline").read_bytes():
                    sockets = [path for path in Path(f"/proc/{below}/fd").iterdir() if "socket" in os.readlink(path)]  # noqa: PTH115
                    if sockets and protected(below):
                        return below
        time.sleep(0.02)
    raise AssertionError("no signing child")


def zombie(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    return True
