"""What is said of a host, on hosts made of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent_pipeline.sandbox import host

MOUNT = "24 18 0:21 / {where} rw,relatime - {kind} {kind} {options}\n"
FIRST = MOUNT.format(where="/sys/fs/cgroup/memory", kind="cgroup", options="rw,memory")
SECOND = MOUNT.format(where="/sys/fs/cgroup", kind="cgroup2", options="rw")


def make(top: Path, **files: str) -> Path:
    (top / "proc/self/ns").mkdir(parents=True)
    (top / "proc/self/ns/user").touch()
    for name, text in files.items():
        path = top / "proc" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return top


def said(top: Path) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in host.describe(top))


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        ("", "none is mounted"),
        (SECOND, "version 2"),
        (FIRST, "version 1 with memory"),
        (FIRST + SECOND, "version 1 with memory; version 2 is mounted beside it"),
        (FIRST.replace("memory", "freezer"), "version 1 with none that bounds a sandbox"),
    ],
)
def test_the_version_of_the_control_groups(tmp_path: Path, mounts: str, expected: str) -> None:
    assert said(make(tmp_path, self__mountinfo=mounts))["control groups"] == expected


def test_who_may_make_user_namespaces(tmp_path: Path) -> None:
    assert said(make(tmp_path / "a"))["user namespaces"] == "any user may make them"
    closed = make(tmp_path / "b", sys__user__max_user_namespaces="0\n", sys__kernel__unprivileged_userns_clone="1\n")
    assert said(closed)["user namespaces"] == "only root may make them (user.max_user_namespaces=0)"
    restricted = make(tmp_path / "c", sys__kernel__apparmor_restrict_unprivileged_userns="1\n")
    assert "apparmor" in said(restricted)["user namespaces"]
    (tmp_path / "a/proc/self/ns/user").unlink()
    assert said(tmp_path / "a")["user namespaces"] == "the kernel has none"


def test_only_what_can_work_here_is_advised(tmp_path: Path) -> None:
    first = host.delegation(make(tmp_path / "a", self__mountinfo=FIRST + SECOND))
    assert "systemd" not in first
    assert "version 1" in first
    plain = make(tmp_path / "b", self__mountinfo=SECOND)
    assert "systemd" not in host.delegation(plain)
    assert "cgroup.procs" in host.delegation(plain)
    for name in ("run/systemd/system", f"run/user/{os.geteuid()}/systemd"):
        (plain / name).mkdir(parents=True)
    assert "systemd-run --user --scope --property=Delegate=yes" in host.delegation(plain)


def test_what_bounds_connections_that_nobody_accepts(tmp_path: Path) -> None:
    size = os.sysconf("SC_PAGE_SIZE")
    there = make(tmp_path / "a", sys__net__ipv4__tcp_mem=f"1\t2\t{(300 << 20) // size}\n")
    assert "300 MB at most for the whole host" in said(there)["sockets"]
    for number, text in enumerate(("", "1 2\n", "a b c\n")):
        odd = make(tmp_path / f"b{number}", sys__net__ipv4__tcp_mem=text)
        assert said(odd)["sockets"].endswith("counts for no control group")
    assert said(make(tmp_path / "c"))["sockets"].endswith("counts for no control group")


def test_overlay_and_the_filter(tmp_path: Path) -> None:
    there = make(
        tmp_path / "a", filesystems="nodev\toverlay\n\text4\n", sys__kernel__seccomp__actions_avail="kill allow"
    )
    assert said(there)["overlay"].startswith("there; ")
    assert said(there)["system call filter"] == "there (kill allow)"
    assert said(make(tmp_path / "b"))["overlay"] == "not loaded"
    assert said(tmp_path / "b")["system call filter"] == "the kernel has none"
