from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import held, posture
from agent_pipeline.sandbox.contract import Bounds
from agent_pipeline.sandbox.mounts import Mount

READ, CLOSED = frozenset({"ro", "nosuid", "nodev"}), frozenset({"rw", "nosuid", "nodev"})
BOUNDS = Bounds(memory_mb=64, pids=32, cpus="1.5", disk_mb=10, seconds=5)
CONTROLLERS = ("memory", "pids", "cpu", "swap", "sockets")
HELD = {
    "held.by": held.KERNEL,
    "held.memory": "67108864",
    "held.pids": "32",
    "held.cpu": "150000 100000",
    "held.swap": "0",
    "held.sockets": "67108864",
}
EXPECTED = posture.Expected(
    uid=10001,
    gid=10001,
    groups="",
    uid_map="10001 0 1",
    environment=frozenset({"PATH", "HOME"}),
    private=("cgroup", "ipc", "mnt", "net", "pid", "user", "uts"),
    mounts={
        "/": Mount(READ, root=None),
        "/proc": Mount(CLOSED | {"noexec"}, ("proc",)),
        "/proc/keys": Mount(READ, ("devtmpfs", "tmpfs"), root="/null", stricter=frozenset({"noexec"})),
        "/tmp": Mount(CLOSED, ("tmpfs",), bounds=frozenset({"size=1024k"})),
        "/workspace": Mount(CLOSED, root=None),
        "/etc/hosts": Mount(frozenset({"ro"}), root="*/hosts", optional=True),
    },
    limits={"open files": "1 1"},
    held=held.expected(BOUNDS, CONTROLLERS, held.KERNEL),
)
MOUNTS = [
    "/ /images/1 ext4 ro,nosuid,nodev,relatime,master rw,discard",
    "/proc / proc rw,nosuid,nodev,noexec,relatime rw",
    "/proc/keys /null devtmpfs ro,nosuid,nodev,relatime rw,size=9k",
    "/tmp / tmpfs rw,nosuid,nodev,relatime rw,size=1024k,mode=1777,inode64",
    "/workspace /runs/1 ext4 rw,nosuid,nodev,relatime rw,size=7k",
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
        "nameservers": "",
        "names": "localhost sandbox",
        "refused.write-root": "EROFS",
        "mounts": "\n".join(MOUNTS),
    }
    report |= {f"status.{name}": "0000000000000000" for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    for name in ("socket-vsock", "socket-packet", "socket-alg", "unshare", "ptrace", "mount", "io-uring"):
        report[f"refused.{name}"] = "EPERM"
    return report | {f"namespace.{name}": f"{name}:[1]" for name in EXPECTED.private}


def test_the_expected_walls_pass_and_have_a_digest() -> None:
    found = posture.check(good(), HELD, EXPECTED)
    assert len(found.digest) == 64
    assert found.facts["namespace.net"] == "private"


def test_the_digest_does_not_depend_on_the_run() -> None:
    mounts = "\n".join(reversed(MOUNTS)).replace("relatime", "noatime").replace("/runs/1", "/runs/2")
    other = good() | {"namespace.net": "net:[2]", "mounts": mounts, "limit.processes": "7 7"}
    assert posture.check(other, HELD, EXPECTED).digest == posture.check(good(), HELD, EXPECTED).digest


def test_what_holds_it_is_part_of_the_digest() -> None:
    other = replace(EXPECTED, held=held.expected(BOUNDS, ("pids",), held.ENGINE))
    found = posture.check(good(), {"held.pids": "32", "held.by": held.ENGINE}, other)
    assert found.digest != posture.check(good(), HELD, EXPECTED).digest


@pytest.mark.parametrize("name", HELD)
def test_control_groups_that_hold_less_than_was_asked_stop_everything(name: str) -> None:
    with pytest.raises(SandboxError, match=name):
        posture.check(good(), HELD | {name: "9999999999"}, EXPECTED)
    with pytest.raises(SandboxError, match=name):
        posture.check(good(), {other: value for other, value in HELD.items() if other != name}, EXPECTED)
    with pytest.raises(SandboxError, match=name):
        posture.check(good() | {name: HELD[name]}, HELD | {name: "max"}, EXPECTED)


def test_what_stands_in_for_a_control_group_must_be_set() -> None:
    expected = replace(EXPECTED, limits={**EXPECTED.limits, "address space": "5 5"})
    posture.check(good() | {"limit.address space": "5 5"}, HELD, expected)
    for report in (good() | {"limit.address space": "unlimited unlimited"}, good()):
        with pytest.raises(SandboxError, match="address space"):
            posture.check(report, HELD, expected)


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
    "nameservers": "127.0.0.53 192.0.2.1",
    "names": "localhost host.docker.internal",
    "a-fact-nobody-knows": "1",
}
WRONG |= {
    f"namespace.{name}": str(Path(f"/proc/self/ns/{name}").readlink()) for name in ("net", "pid", "mnt", "user", "ipc")
}


@pytest.mark.parametrize("name", WRONG)
def test_each_wall_that_is_not_there_stops_everything(name: str) -> None:
    with pytest.raises(SandboxError, match="nothing ran"):
        posture.check(good() | {name: WRONG[name]}, HELD, EXPECTED)


@pytest.mark.parametrize("name", [name for name in good() if name not in ("routes6", "devices")])
def test_a_fact_that_is_missing_stops_everything(name: str) -> None:
    report = good()
    del report[name]
    with pytest.raises(SandboxError):
        posture.check(report, HELD, EXPECTED)


@pytest.mark.parametrize(
    "mounts",
    [
        [*MOUNTS, "/host / ext4 rw,nosuid,nodev rw"],
        [*MOUNTS, "/srv /etc ext4 ro,nosuid,nodev,noexec rw"],
        [*MOUNTS, "/tmp / tmpfs rw,nosuid,nodev rw,size=1024k"],
        [*MOUNTS, "/etc/hosts /etc/shadow ext4 ro rw"],
        [*MOUNTS, "/etc/hosts /x/hosts ext4 rw rw"],
        [line.replace("/tmp / tmpfs rw,nosuid", "/tmp / tmpfs rw") for line in MOUNTS],
        [line.replace("/tmp / tmpfs", "/tmp / ext4") for line in MOUNTS],
        [line.replace("/tmp / tmpfs", "/tmp /sub tmpfs") for line in MOUNTS],
        [line.replace("size=1024k", "size=2048k") for line in MOUNTS],
        [line.replace("size=1024k,", "") for line in MOUNTS],
        [line.replace("size=1024k", "size=1024k,nr_inodes=9") for line in MOUNTS],
        [line.replace("/proc/keys /null", "/proc/keys /kmsg") for line in MOUNTS],
        [line.replace("/proc / proc", "/proc / sysfs") for line in MOUNTS],
        [line.replace("/runs/1 ext4 rw,nosuid,nodev", "/runs/1 ext4 ro,nosuid,nodev") for line in MOUNTS],
        [line.replace("/runs/1 ext4 rw", "/runs/1 ext4 rw,shared") for line in MOUNTS],
        [line for line in MOUNTS if not line.startswith("/workspace")],
        [line for line in MOUNTS if not line.startswith("/ ")],
        [line for line in MOUNTS if not line.startswith("/proc/keys")],
        ["", "garbage", *MOUNTS],
    ],
)
def test_mounts_that_are_not_as_expected_stop_everything(mounts: list[str]) -> None:
    with pytest.raises(SandboxError):
        posture.check(good() | {"mounts": "\n".join(mounts)}, HELD, EXPECTED)


def test_a_mount_that_may_be_there_and_one_that_is_stricter_are_as_expected() -> None:
    mounts = [*MOUNTS, "/etc/hosts /containers/1/hosts ext4 ro,relatime rw"]
    mounts = [line.replace("/null devtmpfs ro", "/null tmpfs ro,noexec") for line in mounts]
    posture.check(good() | {"mounts": "\n".join(mounts)}, HELD, EXPECTED)


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
