from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import layout, posture

CLOSED = frozenset({"rw", "nosuid", "nodev"})
EXPECTED = posture.Expected(
    uid=10001,
    gid=10001,
    groups="",
    uid_map="10001 0 1",
    environment=frozenset({"PATH", "HOME"}),
    private=("cgroup", "ipc", "mnt", "net", "pid", "user", "uts"),
    writable={"/tmp": CLOSED | {"size=1024k"}, "/workspace": CLOSED},
    kernel={"/proc": frozenset({"nosuid", "nodev", "noexec"})},
    limits={"open files": "1 1"},
    masked=layout.masked(),
)
MOUNTS = [
    "/ tmpfs ro,nosuid,nodev,relatime rw,uid=10001",
    "/usr ext4 ro,nosuid,nodev,relatime rw,discard",
    "/proc proc rw,nosuid,nodev,noexec,relatime rw",
    "/tmp tmpfs rw,nosuid,nodev,relatime rw,size=1024k,mode=1777",
    "/workspace ext4 rw,nosuid,nodev,relatime rw,size=7k",
    *(f"{where} devtmpfs ro,nosuid rw" for where in layout.masked()),
]


def good() -> dict[str, str]:
    report = {
        "protocol": "1",
        "pid": "1",
        "cwd": "/workspace",
        "hostname": "sandbox",
        "dumpable": "0",
        "descriptors": "0 1 2",
        "engine-sockets": "",
        "interfaces": "lo",
        "routes": "",
        "routes6": "lo",
        "uid_map": "10001 0 1",
        "environment": "HOME PATH",
        "devices": "null zero",
        "status.Uid": "10001 10001 10001 10001",
        "status.Gid": "10001 10001 10001 10001",
        "status.Groups": "",
        "status.NoNewPrivs": "1",
        "status.Seccomp": "2",
        "limit.open files": "1 1",
        "refused.write-root": "EROFS",
        "mounts": "\n".join(MOUNTS),
    }
    report |= {f"status.{name}": "0000000000000000" for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    for name in ("socket-vsock", "socket-packet", "socket-alg", "unshare", "ptrace", "mount", "io-uring"):
        report[f"refused.{name}"] = "EPERM"
    return report | {f"namespace.{name}": f"{name}:[1]" for name in EXPECTED.private}


def test_the_expected_walls_pass_and_have_a_digest() -> None:
    found = posture.check(good(), EXPECTED)
    assert len(found.digest) == 64
    assert found.facts["namespace.net"] == "private"


def test_the_digest_does_not_depend_on_the_run() -> None:
    other = good() | {"namespace.net": "net:[2]", "mounts": "\n".join(reversed(MOUNTS)).replace("relatime", "noatime")}
    assert posture.check(other, EXPECTED).digest == posture.check(good(), EXPECTED).digest


WRONG = {name: "9" for name in good() if name not in ("mounts", "routes6", "devices", "environment")}
WRONG |= {
    "status.CapEff": "0000000000200000",
    "status.CapBnd": "000001ffffffffff",
    "status.NoNewPrivs": "0",
    "status.Seccomp": "0",
    "status.Uid": "0 0 0 0",
    "refused.socket-vsock": "allowed",
    "refused.io-uring": "EFAULT",
    "refused.unshare": "allowed",
    "refused.write-root": "EACCES",
    "devices": "kvm null",
    "environment": "ANTHROPIC_API_KEY HOME PATH",
    "descriptors": "0 1 2 7",
    "interfaces": "eth0\nlo",
    "routes": "eth0",
    "routes6": "eth0\nlo",
    "engine-sockets": "/run/docker.sock",
    "a-fact-nobody-knows": "1",
}
WRONG |= {
    f"namespace.{name}": str(Path(f"/proc/self/ns/{name}").readlink()) for name in ("net", "pid", "mnt", "user", "ipc")
}


@pytest.mark.parametrize("name", WRONG)
def test_each_wall_that_is_not_there_stops_everything(name: str) -> None:
    with pytest.raises(SandboxError, match="nothing ran"):
        posture.check(good() | {name: WRONG[name]}, EXPECTED)


@pytest.mark.parametrize("name", [name for name in good() if name not in ("routes6", "devices")])
def test_a_fact_that_is_missing_stops_everything(name: str) -> None:
    report = good()
    del report[name]
    with pytest.raises(SandboxError):
        posture.check(report, EXPECTED)


@pytest.mark.parametrize(
    "mounts",
    [
        [*MOUNTS, "/host ext4 rw,nosuid,nodev rw"],
        [*MOUNTS, "/ tmpfs rw,nosuid,nodev rw"],
        [line.replace("/tmp tmpfs rw,nosuid", "/tmp tmpfs rw") for line in MOUNTS],
        [line.replace("size=1024k", "size=2048k") for line in MOUNTS],
        [line.replace("/workspace ext4 rw,nosuid,nodev", "/workspace ext4 ro") for line in MOUNTS],
        [line for line in MOUNTS if not line.startswith("/workspace")],
        [line for line in MOUNTS if not line.startswith("/ ")],
        [line for line in MOUNTS if not line.startswith("/proc/keys")],
        ["", "garbage", *MOUNTS],
    ],
)
def test_mounts_that_are_not_as_expected_stop_everything(mounts: list[str]) -> None:
    with pytest.raises(SandboxError):
        posture.check(good() | {"mounts": "\n".join(mounts)}, EXPECTED)


def test_a_file_made_inside_must_arrive_and_belong_to_the_right_uid(tmp_path: Path) -> None:
    mine = posture.OwnerProbe(tmp_path, os.geteuid())
    (tmp_path / mine.name).touch()
    mine.check()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SandboxError, match="does not arrive"):
        mine.check()
    other = posture.OwnerProbe(tmp_path, os.geteuid() + 1)
    (tmp_path / other.name).touch()
    with pytest.raises(SandboxError, match="belong to uid"):
        other.check()
    assert list(tmp_path.iterdir()) == []
