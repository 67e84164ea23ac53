"""What is read back of control groups, in files as the kernel shows them: version 1, and version 2 under systemd."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_pipeline.sandbox import cgroups, held
from agent_pipeline.sandbox.contract import Bounds

BOUNDS = Bounds(memory_mb=256, pids=64, cpus="1", disk_mb=10, seconds=5)
ALL = ("memory", "pids", "cpu", "swap", "sockets")
ID = "3f1c" * 16


def kernel(top: Path, mounts: str, groups: dict[int, str], files: dict[str, str]) -> Path:
    """Make a /proc with these processes in these groups, and the groups' files."""
    for pid, text in groups.items():
        (top / "proc" / str(pid)).mkdir(parents=True)
        (top / "proc" / str(pid) / "cgroup").write_text(text)
    (top / "proc/self").mkdir()
    (top / "proc/self/mountinfo").write_text(mounts.format(top=top))
    (top / "proc/self/cgroup").write_text("0::/\n")
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(f"{text}\n")
    return top / "proc"


def second(top: Path, scope: str, **changes: str) -> Path:
    """Linux 6.1 and Docker 20.10 with systemd as it was seen: one hierarchy, everything in one directory."""
    files = {"memory.max": "268435456", "memory.swap.max": "0", "pids.max": "64", "cpu.max": "100000 100000"}
    files |= {name.replace("_", "."): value for name, value in changes.items()}
    return kernel(
        top,
        "30 23 0:26 / {top}/fs rw,nosuid,nodev,noexec,relatime - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n",
        {7: f"0::/system.slice/{scope}\n"},
        {"fs/cgroup.controllers": "cpuset cpu io memory hugetlb pids rdma misc"}
        | {f"fs/system.slice/{scope}/{name}": value for name, value in files.items()},
    )


def first(top: Path, **changes: str) -> Path:
    """Three of version 1's hierarchies, as Docker uses them."""
    files = {
        "memory/memory.limit_in_bytes": "268435456",
        "memory/memory.memsw.limit_in_bytes": "268435456",
        "memory/memory.kmem.tcp.limit_in_bytes": "268435456",
        "pids/pids.max": "64",
        "cpu/cpu.cfs_quota_us": "100000",
        "cpu/cpu.cfs_period_us": "100000",
    } | changes
    return kernel(
        top,
        "35 31 0:32 / {top}/fs/memory rw - cgroup cgroup rw,memory\n"
        "36 31 0:33 / {top}/fs/cpu rw - cgroup cgroup rw,cpu\n"
        "39 31 0:36 / {top}/fs/pids rw - cgroup cgroup rw,pids\n",
        {7: f"8:pids:/docker/{ID}\n4:memory:/docker/{ID}\n2:cpu:/docker/{ID}\n1:name=systemd:/\n0::/\n"},
        {f"fs/{name.split('/')[0]}/docker/{ID}/{name.split('/')[1]}": value for name, value in files.items()},
    )


def test_both_versions_say_the_same_of_the_same_bounds(tmp_path: Path) -> None:
    wanted = held.expected(BOUNDS, ALL, held.KERNEL)
    assert held.by_kernel(7, ID, ALL, first(tmp_path / "1")) == wanted
    assert held.by_kernel(7, ID, ALL, second(tmp_path / "2", f"docker-{ID}.scope")) == wanted
    engine = {"Memory": 256 << 20, "MemorySwap": 256 << 20, "PidsLimit": 64, "NanoCpus": 1_000_000_000}
    assert held.by_engine(engine, ALL) == wanted | {"held.by": held.ENGINE}


@pytest.mark.parametrize(
    ("name", "value", "fact"),
    [
        ("memory_max", "max", {"held.memory": "max", "held.sockets": "max"}),
        ("memory_swap_max", "max", {"held.swap": "max"}),
        ("pids_max", "max", {"held.pids": "max"}),
        ("cpu_max", "max 100000", {"held.cpu": "max 100000"}),
    ],
)
def test_a_bound_that_is_not_there_is_seen(tmp_path: Path, name: str, value: str, fact: dict[str, str]) -> None:
    found = held.by_kernel(7, ID, ALL, second(tmp_path, f"docker-{ID}.scope", **{name: value}))
    assert found == held.expected(BOUNDS, ALL, held.KERNEL) | fact


def test_swap_beyond_memory_is_seen(tmp_path: Path) -> None:
    root = first(tmp_path, **{"memory/memory.memsw.limit_in_bytes": "9223372036854771712"})
    assert int(held.by_kernel(7, ID, ALL, root)["held.swap"]) > 1 << 60
    assert held.by_engine({"Memory": 1, "MemorySwap": -1}, ("memory", "swap"))["held.swap"] == "-2"


def test_sockets_that_nobody_bounds_in_version_1_are_seen(tmp_path: Path) -> None:
    endless = "9223372036854771712"
    root = first(tmp_path, **{"memory/memory.kmem.tcp.limit_in_bytes": endless})
    assert held.by_kernel(7, ID, ALL, root) == held.expected(BOUNDS, ALL, held.KERNEL) | {"held.sockets": endless}
    assert not cgroups.bound_sockets(root / "7", "another's", BOUNDS, root / "self")
    assert cgroups.bound_sockets(root / "7", ID, BOUNDS, root / "self")
    assert held.by_kernel(7, ID, ALL, root) == held.expected(BOUNDS, ALL, held.KERNEL)


def test_the_sockets_of_a_process_that_is_gone_are_not_bounded(tmp_path: Path) -> None:
    root = first(tmp_path)
    assert not cgroups.bound_sockets(root / "8", ID, BOUNDS, root / "self")
    (tmp_path / "fs/memory/docker" / ID / cgroups.QUEUED).unlink()
    (tmp_path / "fs/memory/docker" / ID / cgroups.QUEUED).mkdir()  # cannot be written, whoever asks
    assert not cgroups.bound_sockets(root / "7", ID, BOUNDS, root / "self")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("quiet", ""),
        ("cgroup.memory=nokmem quiet", ""),
        ("cgroup.memory=nosocket", "nosocket"),
        ("ro cgroup.memory=nokmem,nosocket quiet", "nosocket"),
        ("x.cgroup.memory=nosocket", ""),
        ('"cgroup.memory=nosocket" quiet', "nosocket"),
        (" ", "nothing, it is masked"),
    ],
)
def test_version_2_counts_sockets_unless_the_kernel_was_told_not_to(tmp_path: Path, line: str, told: str) -> None:
    assert not cgroups.sockets_are_memory(tmp_path)  # nothing to be seen
    (tmp_path / "cmdline").write_text(f"{line}\n")
    assert cgroups.sockets_are_memory(tmp_path) == (told == "")


def test_the_groups_of_another_are_nobodys(tmp_path: Path) -> None:
    root = second(tmp_path, "session-1.scope")
    assert held.by_kernel(7, ID, ALL, root) == held.nobody()
    assert held.by_kernel(8, ID, ALL, root) == held.nobody()


def test_a_kernel_that_does_not_count_swap_has_no_fact_of_it(tmp_path: Path) -> None:
    root = first(tmp_path)
    (tmp_path / "fs/memory/docker" / ID / "memory.memsw.limit_in_bytes").unlink()
    found = held.by_kernel(7, ID, ALL, root)
    assert found == held.expected(BOUNDS, ("memory", "pids", "cpu", "sockets"), held.KERNEL)


def test_what_is_not_held_and_what_is_are_each_others_opposite() -> None:
    assert cgroups.missing(ALL) == ()
    assert cgroups.missing(("memory", "pids", "cpu")) == ("swap", "sockets")
    assert cgroups.missing(("pids",)) == ("memory", "cpu", "swap", "sockets")
    for lost in ((), ("swap",), ("sockets",), ("memory", "cpu", "swap"), ("cpu",), ALL):
        assert cgroups.missing(cgroups.holding(lost)) == lost
