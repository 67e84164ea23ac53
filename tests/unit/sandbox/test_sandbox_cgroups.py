from __future__ import annotations

from pathlib import Path

import pytest

from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import cgroups
from agent_pipeline.sandbox.contract import Bounds

BOUNDS = Bounds(memory_mb=64, pids=32, cpus="1.5", disk_mb=10, seconds=5)


def proc(folder: Path, cgroup: str, mountinfo: str) -> Path:
    (folder / "cgroup").write_text(cgroup)
    (folder / "mountinfo").write_text(mountinfo)
    return folder


def test_version_1_hierarchies_are_found_each_with_its_own_group(tmp_path: Path) -> None:
    root = proc(
        tmp_path,
        "8:pids:/\n4:memory:/work/abc\n2:cpu,cpuacct:/system\n1:name=systemd:/\n0::/\n",
        "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
        "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
        "41 31 0:38 / /nowhere rw - cgroup2 cgroup2 rw\n",
    )
    found = {h.controllers: (h.version, str(h.own)) for h in cgroups.hierarchies(root)}
    assert found == {
        ("memory",): (1, "/sys/fs/cgroup/memory/work/abc"),
        ("cpu",): (1, "/sys/fs/cgroup/cpu,cpuacct/system"),
        ("pids",): (1, "/sys/fs/cgroup/pids"),
    }


def test_a_group_seen_from_within_a_container_is_found_below_what_is_mounted(tmp_path: Path) -> None:
    root = proc(
        tmp_path,
        "4:memory:/docker/abc/inner\n3:pids:/elsewhere\n",
        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "36 31 0:33 /docker/abc /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n",
    )
    assert [str(h.own) for h in cgroups.hierarchies(root)] == ["/sys/fs/cgroup/memory/inner"]


def version2(tmp_path: Path, handed_down: str) -> cgroups.Hierarchy:
    """A directory tree like version 2's, without a kernel behind it."""
    mount = tmp_path / "fs"
    own = mount / "user.slice" / "session.scope"
    own.mkdir(parents=True)
    (mount / "cgroup.controllers").write_text("cpuset cpu io memory pids")
    for folder in (mount, mount / "user.slice"):
        (folder / "cgroup.subtree_control").write_text(handed_down)
    root = proc(
        tmp_path,
        "0::/user.slice/session.scope\n",
        f"41 31 0:38 / {mount} rw - cgroup2 cgroup2 rw\n",
    )
    return cgroups.hierarchies(root)[0]


def test_version_2_finds_its_controllers_and_makes_a_group_beside_its_own(tmp_path: Path) -> None:
    hierarchy = version2(tmp_path, "cpu memory pids")
    assert (hierarchy.version, hierarchy.controllers) == (2, ("memory", "pids", "cpu"))
    places = cgroups.places("agent-pipeline.x", [hierarchy])
    assert places[0] == str(tmp_path / "fs" / "user.slice" / "agent-pipeline.x")
    assert cgroups.whereabouts([hierarchy]) == "beside our own (version 2)"


def test_version_2_switches_nothing_on_where_it_is_handed_down(tmp_path: Path) -> None:
    hierarchy = version2(tmp_path, "cpuset cpu io memory pids")
    (tmp_path / "fs/cgroup.subtree_control").write_text("memory pids")
    assert len(cgroups.places("agent-pipeline.x", [hierarchy])) == 2
    found = [(tmp_path / "fs" / where / "cgroup.subtree_control").read_text() for where in ("", "user.slice")]
    assert found == ["memory pids", "cpuset cpu io memory pids"]


@pytest.mark.parametrize(
    ("version", "controller", "values"),
    [
        (
            1,
            "memory",
            {
                "memory.limit_in_bytes": "67108864",
                "?memory.memsw.limit_in_bytes": "67108864",
                "?memory.kmem.tcp.limit_in_bytes": "67108864",
            },
        ),
        (1, "cpu", {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "150000"}),
        (2, "memory", {"memory.max": "67108864", "?memory.swap.max": "0"}),
        (2, "pids", {"pids.max": "32"}),
        (2, "cpu", {"cpu.max": "150000 100000"}),
    ],
)
def test_bounds_are_written_in_the_kernels_units(version: int, controller: str, values: dict[str, str]) -> None:
    assert cgroups._values(version, controller, BOUNDS) == values


def test_where_nothing_can_be_made_nothing_is_claimed(tmp_path: Path) -> None:
    nowhere = cgroups.Hierarchy(1, tmp_path, tmp_path / "missing" / "group", ("memory",))
    assert cgroups.enforceable("agent-pipeline.x", [nowhere]) == ()
    assert cgroups.enforceable("agent-pipeline.x", []) == ()
    with pytest.raises(SandboxError, match="no control group"):
        cgroups.create("agent-pipeline.x", BOUNDS, [nowhere])


def test_a_directory_that_is_not_ours_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "agent-pipeline.x").mkdir()
    cgroups.remove(str(tmp_path / "docker"))
    cgroups.remove(str(tmp_path / "agent-pipeline.x"))
    cgroups.remove(str(tmp_path / "agent-pipeline.gone"))
    assert [path.name for path in tmp_path.iterdir()] == ["docker"]
