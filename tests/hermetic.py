"""Run a command where the network ends at loopback and the home directory is a trap; for unit tests.

    python tests/hermetic.py COMMAND [ARG ...]

A network namespace of its own has no way out, not even by accident. HOME is an empty folder that nobody may write to,
so that a test which forgets to bring its own fails loudly. The clock is the tests' own to fix.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


def leave_the_network() -> None:
    """Enter a network namespace with only loopback in it; through a user namespace when not root."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    flags = CLONE_NEWNET if uid == 0 else CLONE_NEWUSER | CLONE_NEWNET
    if libc.unshare(flags) != 0:
        error = ctypes.get_errno()
        sys.exit(f"cannot leave the network: {os.strerror(error)}; allow user namespaces, or run as root")
    if uid != 0:
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh", b"lo", 0)
        (now,) = struct.unpack_from("h", fcntl.ioctl(sock, SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh", b"lo", now | IFF_UP))


def main() -> None:
    """Set the trap and become the command."""
    leave_the_network()
    with tempfile.TemporaryDirectory(prefix="no-home-") as home:
        Path(home).chmod(0o500)
        env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("XDG_", "GIT_", "ANTHROPIC_", "AGENT_PIPELINE_"))
        }
        code = subprocess.run(sys.argv[1:], env=env | {"HOME": home}, check=False).returncode
    sys.exit(code if code >= 0 else 1)


if __name__ == "__main__":
    main()
