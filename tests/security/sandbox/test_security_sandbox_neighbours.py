"""Another run on the same host, and what is left after one: two sandboxes of one uid do not meet."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.cells import Cell

from agent_pipeline import clock

pytestmark = pytest.mark.containers


@pytest.fixture
def two(fresh: Callable[..., Cell]) -> tuple[Cell, Cell]:
    return fresh(), fresh()


LEAVE = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
segment = libc.shmget(0x4711, 4096, 0o1666)
libc.msgget(0x4711, 0o1666)
libc.semget(0x4711, 1, 0o1666)
for path in ("/tmp/left", "/dev/shm/left", "/home/agent/left", "/run/left"):
    try: open(path, "w").write("secret")
    except OSError: pass
libc.mq_open(b"/left", 0o102, 0o666, None)
listener = socket.socket(socket.AF_UNIX)
listener.bind("\\0left")
listener.listen()
server = socket.create_server(("127.0.0.1", 4711))
open("/workspace/ready", "w").close()
import time
time.sleep(20)
"""
LOOK = """
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
found = []
for name in ("shmget", "msgget", "semget"):
    number = getattr(libc, name)(0x4711, *((4096, 0) if name == "shmget" else (1, 0) if name == "semget" else (0,)))
    if number >= 0: found.append(name)
for path in ("/tmp/left", "/dev/shm/left", "/home/agent/left", "/run/left", "/dev/mqueue/left"):
    if os.path.lexists(path): found.append(path)
for address in ("\\0left", ("127.0.0.1", 4711)):
    try:
        socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET).connect(address)
        found.append(address)
    except OSError: pass
for pid in filter(str.isdigit, os.listdir("/proc")):
    if int(pid) not in (1, os.getpid(), os.getppid()):
        found.append(open(f"/proc/{pid}/comm").read())
print("found", found)
"""


def test_a_neighbour_of_the_same_uid_shares_nothing(two: tuple[Cell, Cell]) -> None:
    """Private ipc, network, PID and mount namespaces, and scratch directories of its own."""
    one, other = two
    thread = threading.Thread(target=lambda: one.python(LEAVE, seconds=4))
    thread.start()
    until = clock.monotonic() + 10
    while not (one.workspace / "ready").exists() and clock.monotonic() < until:
        clock.sleep(0.02)
    assert (one.workspace / "ready").exists()
    assert other.python(LOOK).output == b"found []\n"
    thread.join()
    assert one.alive()


def test_a_neighbour_does_not_suffer_from_what_the_kernel_counts_by_uid(two: tuple[Cell, Cell]) -> None:
    """Pipes, pending signals, inotify, message queues, locks: where one took all, ordinary work goes on."""
    one, other = two
    code = (
        "import ctypes, fcntl, os, time\n"
        "libc = ctypes.CDLL(None)\n"
        "held = []\n"
        "for _ in range(1500):\n"
        "    try:\n"
        "        r, w = os.pipe(); held.append(w)\n"
        "        fcntl.fcntl(w, 1031, 1 << 20)\n"
        "    except OSError: pass\n"
        "for _ in range(300): libc.inotify_init()\n"
        "open('/workspace/ready', 'w').close(); time.sleep(20)"
    )
    thread = threading.Thread(target=lambda: one.python(code, seconds=4))
    thread.start()
    until = clock.monotonic() + 10
    while not (one.workspace / "ready").exists() and clock.monotonic() < until:
        clock.sleep(0.02)
    work = "import subprocess\nprint(subprocess.check_output(['sh', '-c', 'seq 3 | wc -l']))"
    assert other.run(["python3", "-c", work]).output == b"b'3\\n'\n"
    thread.join()


def test_the_next_run_finds_nothing_of_the_one_before(fresh: Callable[..., Cell]) -> None:
    one = fresh()
    one.run(["sh", "-c", "echo s >/tmp/left; echo s >/dev/shm/left; echo s >/home/agent/left; ipcmk -M 4096 || true"])
    one.close()
    assert fresh().python(LOOK).output == b"found []\n"


def marked(mark: str) -> list[str]:
    """Return the processes of this host that carry the mark in their arguments."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes()
            if mark.encode() in line and int(folder.name) != os.getpid():
                found.append(line.replace(b"\0", b" ").decode("utf-8", "replace"))
    return found


SURVIVE = {
    "a daemon": "setsid sh -c 'sleep MARK & sleep MARK' & disown -a; sleep MARK",
    "stopped": "sh -c 'kill -STOP $$; : MARK' & sleep MARK",
    "ignoring signals": "trap '' TERM INT HUP QUIT; (trap '' TERM INT HUP; sleep MARK) & sleep MARK",
    "forking on": "f() { sleep 0.01; : MARK; (f &) ; }; f; sleep MARK",
    "holding every stream": "sleep MARK <&- >&- 2>&- & sleep MARK",
}


@pytest.mark.parametrize("name", SURVIVE)
def test_nothing_survives_the_end_of_its_sandbox(fresh: Callable[..., Cell], name: str) -> None:
    """PID 1 ends, and the kernel kills all others of its namespace, stopped or not."""
    cell, mark = fresh(), f"6{int.from_bytes(os.urandom(3))}"
    thread = threading.Thread(target=_suffer, args=(cell, SURVIVE[name].replace("MARK", mark)))
    thread.start()
    until = clock.monotonic() + 10
    while not marked(mark) and clock.monotonic() < until:
        clock.sleep(0.02)
    clock.sleep(0.2)
    if cell.mode == "bubblewrap-user":
        thread.join()  # one request at a time reaches the other process
    cell.close()
    until = clock.monotonic() + 5
    while marked(mark) and clock.monotonic() < until:
        clock.sleep(0.02)
    assert marked(mark) == []
    thread.join()


def _suffer(cell: Cell, script: str) -> None:
    with contextlib.suppress(Exception):
        cell.run(["bash", "-c", script], seconds=2)


LEFT = """
import os, socket
os.chdir("/workspace")
os.mkfifo("pipe"); os.symlink("/etc/passwd", "link"); os.symlink("../" * 40 + "etc/shadow", "up")
listener = socket.socket(socket.AF_UNIX); listener.bind("socket")
open("plain", "w").write("x"); os.link("plain", "twin")
open("program", "w").write("#!/bin/sh\\n"); os.chmod("program", 0o6755)
os.mkdir("sticky"); os.chmod("sticky", 0o3777)
os.mkdir(".git"); open(".git/config", "w").write("[core]\\n\\tfsmonitor = touch /tmp/pwned\\n")
f = os.open("sparse", os.O_CREAT | os.O_RDWR); os.truncate(f, 1 << 28)
for name, value in (("user.overlay.opaque", b"y"), ("user.x", b"1")):
    try: os.setxattr("plain", name, value)
    except OSError: pass
print(sorted(os.listdir(".")))
"""


def test_what_is_left_in_the_workspace_is_never_the_hosts_roots(cell: Cell) -> None:
    """Devices cannot be made, and whatever else is made belongs to the workload, with no capability of any file."""
    assert b"program" in cell.python(LEFT).output
    kinds = set()
    for path in [cell.workspace, *cell.workspace.rglob("*")]:
        found = path.lstat()
        kinds.add(stat.S_IFMT(found.st_mode))
        assert found.st_uid != 0, path
        assert found.st_uid == cell.workspace.stat().st_uid, path
        if not path.is_symlink():
            assert "security.capability" not in os.listxattr(path, follow_symlinks=False)
    assert not kinds & {stat.S_IFCHR, stat.S_IFBLK}
    assert cell.run(["sh", "-c", "rm -rf /workspace/* /workspace/.git"]).code == 0


SECRETS = "/var/lib/docker /var/cache/agent-pipeline /etc/shadow /etc/ssh /run/secrets /home/*/.ssh /root/.ssh"


def test_nothing_of_the_hosts_files_is_there(cell: Cell, canary: tuple[Path, str]) -> None:
    path, word = canary
    search = f"cat {path}; grep -rls {word} / --exclude-dir=proc --exclude-dir=sys 2>/dev/null"
    assert word.encode() not in cell.run(["sh", "-c", search], seconds=60).output
    assert cell.run(["sh", "-c", f"find {SECRETS} -type f 2>/dev/null | head"]).output == b""
    assert cell.run(["sh", "-c", "ls -A /root 2>/dev/null"]).output.split() in ([], [b".bashrc", b".profile"])


@pytest.fixture
def canary() -> Iterator[tuple[Path, str]]:
    """A file of the host that everybody there may read."""
    word = f"canary{os.urandom(8).hex()}"
    path = Path("/tmp") / f"agent-pipeline-test-{os.getpid()}"
    path.write_text(word)
    yield path, word
    path.unlink()


def test_a_directory_handed_to_another_process_is_no_way_out(cell: Cell) -> None:
    """No descriptor of the host's is open in PID 1 or in a command, so none can be passed on."""
    code = (
        "import os\n"
        "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "    try: links = [os.readlink(f'/proc/{pid}/fd/{n}') for n in os.listdir(f'/proc/{pid}/fd')]\n"
        "    except OSError: continue\n"
        "    print(*links)"
    )
    links = cell.python(code).output.decode().split()
    assert all(link == "/dev/null" or link.startswith(("pipe:", "/proc/")) for link in links), links
