"""What the filter allows and what it refuses, found out by interpreting the compiled program as the kernel would."""

from __future__ import annotations

import ctypes
import errno
import json
import platform
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.sandbox import seccomp

ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[platform.machine()]
I386 = 0x40000003
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x00000000
TIOCSTI, TIOCLINUX, TIOCGWINSZ = 0x5412, 0x541C, 0x5413
INSTRUCTIONS = list(struct.iter_unpack("<HBBI", seccomp.program()))


def decide(name: str, *args: int, arch: int = ARCH) -> int:
    number = seccomp.library().seccomp_syscall_resolve_name(name.encode())
    assert number >= 0, name
    return interpret(number, args, arch)


def interpret(number: int, args: tuple[int, ...], arch: int = ARCH) -> int:
    """Classic BPF over `struct seccomp_data`, with the few instructions that libseccomp writes."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *args, *[0] * (6 - len(args)))
    accumulator, at = 0, 0
    while True:
        code, true, false, value = INSTRUCTIONS[at]
        at += 1
        if code == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif code == 0x54:
            accumulator &= value
        elif code == 0x05:
            at += value
        elif code == 0x06:
            return int(value)
        else:
            holds = {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value}[code]
            at += true if holds else false


REFUSED = tuple(
    """
    add_key bpf chroot delete_module fanotify_init finit_module fsopen init_module io_uring_enter
    io_uring_register io_uring_setup kcmp kexec_load keyctl mbind memfd_secret mount mount_setattr move_mount
    move_pages name_to_handle_at open_by_handle_at open_tree perf_event_open pidfd_getfd pivot_root
    process_madvise process_vm_readv process_vm_writev ptrace quotactl reboot request_key setdomainname
    sethostname setns settimeofday swapon syslog umount2 unshare userfaultfd vmsplice
    """.split()  # noqa: SIM905 - a list of words is read as words
)
WORK = tuple(
    """
    accept4 bind brk clone close_range connect copy_file_range epoll_wait execve execveat exit_group faccessat2
    fcntl fsync futex getdents64 getrandom inotify_add_watch kill link listen memfd_create mmap mprotect mremap
    openat pidfd_open pidfd_send_signal pipe2 ppoll prctl read rename renameat2 rseq rt_sigaction
    sched_getaffinity sendmsg setsid shmget socketpair splice statx symlinkat timerfd_create unlinkat utimensat
    wait4 waitid write
    """.split()  # noqa: SIM905 - a list of words is read as words
)


@pytest.mark.parametrize("name", REFUSED)
def test_what_reaches_beyond_a_process_is_refused(name: str) -> None:
    assert decide(name) == ERRNO | errno.EPERM


@pytest.mark.parametrize("name", WORK)
def test_ordinary_work_is_allowed(name: str) -> None:
    assert decide(name) == ALLOW


@pytest.mark.parametrize(
    ("family", "protocol", "action"),
    [(1, 0, ALLOW)]
    + [(family, protocol, ALLOW) for family in (2, 10) for protocol in (0, 6, 17)]
    + [(family, protocol, ERRNO | 1) for family in (2, 10) for protocol in (1, 58, 132, 136, 255)]
    + [(16, protocol, ERRNO | 1) for protocol in (0, 2, 6, 9, 15, 16)]
    + [(family, 0, ERRNO | 1) for family in (0, 3, 9, 15, 17, 29, 31, 38, 40, 44, 45)],
)
def test_sockets_of_no_other_family(family: int, protocol: int, action: int) -> None:
    assert decide("socket", family, 1, protocol) == action


def test_a_family_in_the_upper_half_of_the_register_is_refused() -> None:
    assert decide("socket", 1 << 32 | 40, 1, 0) == ERRNO | 1
    assert decide("socket", 1 << 32 | 1, 1, 0) == ERRNO | 1


@pytest.mark.parametrize("flag", [0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x00020000])
def test_clone_makes_no_namespace(flag: int) -> None:
    assert decide("clone", flag | 17) == ERRNO | 1
    assert decide("clone", 0x003D0F00) == ALLOW  # a thread


def test_clone3_sends_callers_back_to_clone() -> None:
    assert decide("clone3") == ERRNO | errno.ENOSYS


@pytest.mark.parametrize("kind", [0x2000, 0x6000])
def test_no_devices_are_made(kind: int) -> None:
    assert decide("mknodat", 0, 0, kind | 0o600) == ERRNO | 1


@pytest.mark.parametrize("kind", [0, 0x8000, 0x1000, 0xC000])
def test_files_pipes_and_sockets_are_made(kind: int) -> None:
    assert decide("mknodat", 0, 0, kind | 0o644) == ALLOW


@given(st.integers(0, 2**64 - 1))
def test_every_ioctl_but_two_is_allowed(request: int) -> None:
    refused = request & 0xFFFFFFFF in (TIOCSTI, TIOCLINUX)
    assert decide("ioctl", 0, request) == (ERRNO | 1 if refused else ALLOW)


@given(st.integers(0, 2**32 - 1), st.sampled_from([TIOCSTI, TIOCLINUX]))
def test_no_upper_bits_smuggle_a_terminal_request(upper: int, request: int) -> None:
    assert decide("ioctl", 0, upper << 32 | request) == ERRNO | 1


@given(st.integers(0x5400, 0x5430))
def test_the_neighbours_of_the_two_are_allowed(request: int) -> None:
    refused = request in (TIOCSTI, TIOCLINUX)
    assert decide("ioctl", 0, request) == (ERRNO | 1 if refused else ALLOW)


PR_SET_SECCOMP = 22


@given(st.integers(0, 2**64 - 1) | st.integers(0, 100))
def test_every_option_of_a_process_but_a_filter_is_set(option: int) -> None:
    refused = option & 0xFFFFFFFF == PR_SET_SECCOMP
    assert decide("prctl", option) == (ERRNO | errno.EPERM if refused else ALLOW)


@given(st.integers(0, 2**32 - 1))
def test_no_upper_bits_smuggle_a_filter(upper: int) -> None:
    assert decide("prctl", upper << 32 | PR_SET_SECCOMP) == ERRNO | errno.EPERM
    assert decide("seccomp", upper) == ERRNO | errno.ENOSYS


AIO = ("io_setup", "io_submit", "io_getevents", "io_pgetevents", "io_cancel", "io_destroy")
ATTACHING = (26, 50, 51, 52)  # SO_ATTACH_FILTER, SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_CBPF and EBPF
SOCKET_LEVEL = 1
PROCESS, GROUP = 0, 1  # PRIO_PROCESS, PRIO_PGRP; ioprio_set counts from 1
ABOUT_ONE = ("sched_setscheduler", "sched_setparam", "sched_setattr", "prlimit64")


@pytest.mark.parametrize("name", AIO)
def test_what_one_process_can_use_up_for_the_whole_host_is_not_there(name: str) -> None:
    assert decide(name) == ERRNO | errno.ENOSYS


@pytest.mark.parametrize("name", ["sync", "syncfs"])
def test_nobody_has_the_hosts_disks_written_out(name: str) -> None:
    assert decide(name) == ERRNO | 0  # done, by doing nothing


@pytest.mark.parametrize("name", ABOUT_ONE)
@given(st.integers(0, 2**64 - 1))
def test_the_scheduler_and_limits_are_ones_own(name: str, pid: int) -> None:
    own = pid & 0xFFFFFFFF == 0
    assert decide(name, pid, 1, 1) == (ALLOW if own else ERRNO | errno.EPERM)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_limits_may_be_asked_of_anybody(pid: int, old: int) -> None:
    assert decide("prlimit64", pid, 7, 0, old) == ALLOW


@pytest.mark.parametrize(("name", "first"), [("setpriority", 0), ("ioprio_set", 1)])
@given(st.integers(0, 4), st.integers(0, 2**64 - 1))
def test_priorities_are_ones_own_or_ones_groups(name: str, first: int, which: int, who: int) -> None:
    own = which - first in (PROCESS, GROUP) and who & 0xFFFFFFFF == 0
    assert decide(name, which, who, 19) == (ALLOW if own else ERRNO | errno.EPERM)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.sampled_from(ATTACHING))
def test_no_packet_filter_is_attached_whatever_the_upper_bits(high: int, higher: int, option: int) -> None:
    assert decide("setsockopt", 3, high << 32 | SOCKET_LEVEL, higher << 32 | option) == ERRNO | errno.EPERM


@pytest.mark.parametrize("option", [2, 7, 8, 9, 15, 16, 20, 21])  # REUSEADDR, SNDBUF, RCVBUF, KEEPALIVE, ...
def test_ordinary_options_of_sockets_are_set(option: int) -> None:
    assert decide("setsockopt", 3, SOCKET_LEVEL, option) == ALLOW


@pytest.mark.parametrize(("level", "option"), [(6, 1), (6, 26), (41, 26), (0, 50), (17, 103)])
def test_options_of_protocols_are_set(level: int, option: int) -> None:
    assert decide("setsockopt", 3, level, option) == ALLOW


def test_personality_only_asks() -> None:
    assert decide("personality", 0xFFFFFFFF) == ALLOW
    assert decide("personality", 0x0040000) == ERRNO | 1


def test_another_architectures_calls_kill() -> None:
    assert interpret(1, (), arch=I386) == KILL


@pytest.mark.skipif(platform.machine() != "x86_64", reason="x32 is an ABI of x86-64")
def test_x32_calls_kill() -> None:
    assert interpret(0x40000000 | 1, ()) == KILL


@given(st.integers(500, 2**30 - 1))
def test_a_call_that_nobody_knows_is_refused(number: int) -> None:
    assert interpret(number, ()) == ERRNO | 1


def test_the_json_names_no_call_twice_and_only_known_forms() -> None:
    document = json.loads(seccomp.profile())
    plain = [name for rule in document["syscalls"] if "args" not in rule for name in rule["names"]]
    assert len(plain) == len(set(plain))
    assert document["defaultAction"] == "SCMP_ACT_ERRNO"
    assert {rule["action"] for rule in document["syscalls"]} == {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"}
    conditional = {name for rule in document["syscalls"] if "args" in rule for name in rule["names"]}
    assert not conditional & set(plain)


def test_every_name_is_one_of_the_kernels() -> None:
    lib: ctypes.CDLL = seccomp.library()
    names = [name for rule in json.loads(seccomp.profile())["syscalls"] for name in rule["names"]]
    unknown = [name for name in names if lib.seccomp_syscall_resolve_name(name.encode()) == -1]
    newer = {"cachestat", "fchmodat2", "futex_requeue", "futex_wait", "futex_wake"}  # than libseccomp 2.5
    assert set(unknown) <= newer
