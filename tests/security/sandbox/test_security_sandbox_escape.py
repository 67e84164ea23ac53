"""Ways out of a sandbox: namespaces, mounts, devices, kernel interfaces, sockets. Each is tried, and refused."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator

import pytest
from support.cells import Cell

pytestmark = pytest.mark.containers

PRELUDE = """
import ctypes, errno, os, platform, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *args):
    ctypes.set_errno(0)
    if libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in args)) < 0:
        raise OSError(ctypes.get_errno(), "")
    return "allowed"
def nr(x86, arm):
    return {"x86_64": x86, "aarch64": arm}[platform.machine()]
def attack():
    BODY
try:
    print(attack() or "allowed")
except OSError as error:
    print(errno.errorcode[error.errno])
"""


def answer(cell: Cell, body: str) -> str:
    """Run an attack inside; return what became of it: `allowed`, or the error that the kernel gave."""
    done = cell.python(PRELUDE.replace("BODY", body.strip().replace("\n", "\n    ")))
    assert done.code == 0, done.output.decode()
    return done.output.decode().strip()


# What our list of system calls refuses, before the kernel looks at a single argument: number on x86-64, on arm64.
FILTERED: dict[str, tuple[int, int]] = {
    "acct": (163, 89), "add_key": (248, 217), "bpf": (321, 280), "chroot": (161, 51), "clock_adjtime": (305, 266),
    "clock_settime": (227, 112), "delete_module": (176, 106), "fanotify_init": (300, 262), "finit_module": (313, 273),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fsopen": (430, 430), "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "kcmp": (312, 272),
    "kexec_file_load": (320, 294), "kexec_load": (246, 104), "keyctl": (250, 219), "lookup_dcookie": (212, 18),
    "mbind": (237, 235), "memfd_secret": (447, 447), "migrate_pages": (256, 238), "mount": (165, 40),
    "mount_setattr": (442, 442), "move_mount": (429, 429), "move_pages": (279, 239), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "open_tree": (428, 428), "perf_event_open": (298, 241), "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41), "process_madvise": (440, 440), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "ptrace": (101, 117), "quotactl": (179, 60), "reboot": (169, 142),
    "request_key": (249, 218), "set_mempolicy": (238, 237), "setdomainname": (171, 162), "sethostname": (170, 161),
    "setns": (308, 268), "settimeofday": (164, 170), "swapoff": (168, 225), "swapon": (167, 224), "syslog": (103, 116),
    "umount2": (166, 39), "unshare": (272, 97), "userfaultfd": (323, 282), "vhangup": (153, 58), "vmsplice": (278, 75),
}  # fmt: skip


@pytest.mark.parametrize("name", FILTERED)
def test_kernel_interfaces_that_no_work_needs_are_refused_by_the_filter(cell: Cell, name: str) -> None:
    assert answer(cell, f"return call(nr{FILTERED[name]}, 0, 0, 0, 0, 0)") == "EPERM"


NAMESPACES = {"mnt": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000,
              "pid": 0x20000000, "net": 0x40000000, "time": 0x80}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in NAMESPACES if name != "time"])
def test_no_namespace_can_be_made_by_clone(cell: Cell, name: str) -> None:
    body = f"""
pid = libc.syscall(nr(56, 220), {NAMESPACES[name] | 17}, 0, 0, 0, 0)
if pid == 0: os._exit(0)
if pid < 0: raise OSError(ctypes.get_errno(), "")
"""
    assert answer(cell, body) == "EPERM"


@pytest.mark.parametrize("name", NAMESPACES)
def test_no_namespace_can_be_made_by_unshare(cell: Cell, name: str) -> None:
    assert answer(cell, f"return call(nr(272, 97), {NAMESPACES[name]})") == "EPERM"


def test_clone3_is_as_if_the_kernel_did_not_have_it(cell: Cell) -> None:
    """Its flags lie in memory, where no filter can look; programs fall back to clone."""
    assert answer(cell, "return call(435, 0, 0)") == "ENOSYS"


@pytest.mark.parametrize("name", ["mnt", "net", "pid", "user", "ipc", "uts", "cgroup"])
def test_no_namespace_of_pid_1_can_be_entered(cell: Cell, name: str) -> None:
    """PID 1 is undumpable: its namespaces cannot even be opened."""
    assert answer(cell, f"os.open('/proc/1/ns/{name}', os.O_RDONLY)") == "EACCES"


GAINS = {
    "setuid": ("os.setuid(0)", {"EPERM", "EINVAL"}),
    "setresuid": ("os.setresuid(0, 0, 0)", {"EPERM", "EINVAL"}),
    "setgid": ("os.setgid(0)", {"EPERM", "EINVAL"}),
    "setgroups": ("os.setgroups([0])", {"EPERM"}),
    "new privileges again": ("return call(nr(157, 167), 38, 0, 0, 0, 0)", {"EINVAL"}),
    "a capability": (
        (
            "h = (ctypes.c_uint32 * 2)(0x20080522, 0); d = (ctypes.c_uint32 * 6)(1 << 21, 1 << 21, 0, 0, 0, 0)\n"
            "if libc.capset(h, d) < 0: raise OSError(ctypes.get_errno(), '')"
        ),
        {"EPERM"},
    ),
    "an ambient capability": ("return call(nr(157, 167), 47, 2, 21, 0, 0)", {"EPERM"}),
    "the bounding set": ("return call(nr(157, 167), 24, 21, 0, 0, 0)", {"EPERM"}),
    "nice": ("os.setpriority(os.PRIO_PROCESS, 0, -20)", {"EACCES", "EPERM"}),
    "real time": ("os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))", {"EPERM"}),
    "locked memory": ("return call(nr(151, 230), 1)", {"EPERM", "ENOMEM"}),
    "more open files": (
        (
            "import resource\ntry: resource.setrlimit(resource.RLIMIT_NOFILE, (99999, 99999))\n"
            "except ValueError: raise OSError(errno.EPERM, '')"
        ),
        {"EPERM"},
    ),
    "a core dump": (
        (
            "import resource\ntry: resource.setrlimit(resource.RLIMIT_CORE, (1, 1))\n"
            "except ValueError: raise OSError(errno.EPERM, '')"
        ),
        {"EPERM"},
    ),
    "a score below its own": (
        "os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), b'-1000')",
        {"EACCES", "EPERM"},
    ),
    "I/O ports": ("return call(nr(173, 0x7fff), 0x80, 1, 1)", {"EPERM", "ENOSYS"}),
    "another personality": ("return call(nr(135, 92), 0x0040000)", {"EPERM"}),
    "an attribute of trust": ("os.setxattr('/workspace', 'trusted.x', b'1')", {"EPERM", "ENOTSUP", "EOPNOTSUPP"}),
    "file capabilities": (
        (
            "open('/tmp/c', 'w').close()\n"
            "os.setxattr('/tmp/c', 'security.capability', bytes.fromhex('0100000200002000000000000000000000000000'))"
        ),
        {"EPERM", "ENOTSUP", "EOPNOTSUPP"},
    ),
    "a file of root's": ("open('/tmp/o', 'w').close(); os.chown('/tmp/o', 0, 0)", {"EPERM", "EINVAL"}),
}


@pytest.mark.parametrize("name", GAINS)
def test_no_right_can_be_gained(cell: Cell, name: str) -> None:
    """No capability, no new privileges, limits that are hard, a filter."""
    body, expected = GAINS[name]
    assert answer(cell, body) in expected


def test_a_setuid_program_gives_nothing(cell: Cell) -> None:
    """No new privileges: the bit is ignored. The image has none, and one's own belongs to nobody else."""
    done = cell.run(
        [
            "sh",
            "-c",
            "find / -xdev -perm /6000 -type f 2>/dev/null; cp /usr/bin/id /tmp/i; chmod 4755 /tmp/i; /tmp/i -u",
        ]
    )
    assert done.output.split() == [b"10001"] if cell.mode != "docker" else done.output.split()[-1:] == [b"10001"]


def test_another_architectures_system_calls_kill(cell: Cell) -> None:
    """`int 0x80` has other numbers, which a filter for this architecture would misread."""
    code = (
        "import ctypes, mmap\n"
        "m = mmap.mmap(-1, 4096, prot=7)\n"
        "m.write(bytes.fromhex('b814000000cd80c3'))\n"  # getpid() of i386
        "f = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\n"
        "print('pid', f())"
    )
    if os.uname().machine != "x86_64":
        pytest.skip("x86 alone has it")
    done = cell.python(code)
    assert b"pid" not in done.output
    assert done.code in {139, 159}  # no such entry in the kernel, or SIGSYS


def test_the_x32_numbers_are_refused(cell: Cell) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("x86 alone has it")
    done = cell.python("import ctypes\nlibc=ctypes.CDLL(None,use_errno=True)\nprint(libc.syscall(0x40000000+39))")
    assert done.code == 159 or done.output.strip() == b"-1"


@pytest.mark.parametrize("number", [0x5412, 0x541C])
def test_keys_cannot_be_typed_into_a_terminal(cell: Cell, number: int) -> None:
    """TIOCSTI, TIOCLINUX: refused by the filter even on a terminal of one's own (CVE-2017-5226, CVE-2023-28100)."""
    body = f"import fcntl\nm, s = os.openpty()\nfcntl.ioctl(s, {number}, b'x')"
    assert answer(cell, body) == "EPERM"


@pytest.mark.parametrize("kind", ["S_IFCHR", "S_IFBLK"])
@pytest.mark.parametrize("where", ["/workspace", "/tmp", "/dev/shm"])
def test_no_device_can_be_made(cell: Cell, kind: str, where: str) -> None:
    assert answer(cell, f"import stat\nos.mknod('{where}/d', stat.{kind} | 0o666, os.makedev(1, 3))") == "EPERM"


def test_no_device_but_the_harmless_ones_is_there(cell: Cell) -> None:
    done = cell.run(["find", "/dev", "-type", "c", "-o", "-type", "b"])
    names = {line.rsplit("/", 1)[-1] for line in done.output.decode().split()}
    pts = {name for name in names if name.isdigit()}
    assert names - pts <= {"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"}


WRITES = (
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger",
    "/proc/sys/fs/binfmt_misc/register", "/proc/sys/user/max_user_namespaces", "/proc/irq/default_smp_affinity",
    "/sys/kernel/uevent_helper", "/sys/power/state", "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/memory/release_agent",
    "/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/pids.max",
    "/sys/fs/cgroup/memory.max", "/etc/passwd", "/usr/bin/python3", "/opt/agent-pipeline/frame_agent.py",
    "/etc/ld.so.preload",
    "/proc/sys/kernel/shmmax", "/proc/sys/fs/mqueue/msg_max",  # its own namespaces', and still none of its business
    "/proc/sys/kernel/pid_max", "/proc/pressure/memory", "/proc/pressure/cpu",
    "/dev/mem", "/dev/kmsg", "/proc/kcore", "/proc/1/oom_score_adj", "/proc/1/attr/current",
)  # fmt: skip


@pytest.mark.parametrize("path", WRITES)
def test_nothing_of_the_kernel_or_the_image_can_be_written(cell: Cell, path: str) -> None:
    body = f"os.write(os.open({path!r}, os.O_WRONLY), b'0')"
    assert answer(cell, body) in {"EACCES", "EROFS", "ENOENT", "EPERM", "EINVAL", "ENXIO"}
    if "cgroup" not in path and "attr" not in path and path != "/proc/kcore":
        assert answer(cell, body) != "EINVAL"  # was opened: would have taken other words


def test_a_bind_or_link_does_not_make_the_image_writable(cell: Cell) -> None:
    assert answer(cell, "os.link('/usr/bin/python3', '/workspace/p')") in {"EXDEV", "EPERM"}
    assert answer(cell, "os.rename('/etc', '/tmp/etc')") in {"EXDEV", "EROFS", "EACCES", "EPERM"}
    assert answer(cell, "os.rename('/workspace', '/tmp/w')") in {"EXDEV", "EROFS", "EBUSY", "EACCES"}
    assert answer(cell, "os.rmdir('/tmp')") in {"EBUSY", "EROFS", "EACCES"}
    assert answer(cell, "os.utime('/etc/passwd')") in {"EROFS", "EACCES", "EPERM"}


def test_the_way_up_ends_at_the_root(cell: Cell) -> None:
    body = """
home = os.stat('/')
descriptor = os.open('/workspace', os.O_RDONLY)
for _ in range(64):
    descriptor = os.open('..', os.O_RDONLY, dir_fd=descriptor)
there = os.fstat(descriptor)
assert (there.st_ino, there.st_dev) == (home.st_ino, home.st_dev)
assert os.path.samefile('/proc/self/root', '/')
return 'contained'
"""
    assert answer(cell, body) == "contained"


FAMILIES_ALLOWED = {1, 2, 10}


def test_sockets_of_other_families_are_refused_by_the_filter(cell: Cell) -> None:
    body = """
import socket
got = []
for family in range(0, 64):
    for kind in range(1, 7):
        try:
            socket.socket(family, kind, 0).close()
            got.append(family)
        except OSError as error:
            if family not in (1, 2, 10, 16): assert error.errno == errno.EPERM, (family, error)
return ' '.join(map(str, sorted(set(got))))
"""
    assert {int(word) for word in answer(cell, body).split()} <= FAMILIES_ALLOWED


@pytest.mark.parametrize("kind", [3, 10], ids=["raw", "packet"])
@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6"])
def test_raw_sockets_are_refused_for_want_of_a_capability(cell: Cell, family: str, kind: int) -> None:
    assert answer(cell, f"import socket\nsocket.socket(socket.{family}, {kind}, 1)") in {
        "EPERM",
        "EPROTONOSUPPORT",
        "ESOCKTNOSUPPORT",
        "EINVAL",
    }


@pytest.mark.parametrize("protocol", range(24))
def test_nothing_of_netlink_is_there(cell: Cell, protocol: int) -> None:
    """What is queued on such a socket is memory of the kernel's that no control group counts."""
    assert answer(cell, f"import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW, {protocol})") == "EPERM"


@pytest.fixture
def listener() -> Iterator[int]:
    """A server on every address of this host that notes whoever comes."""
    with socket.create_server(("", 0)) as server:
        server.settimeout(0.2)
        came: list[object] = []
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    came.append(server.accept())
                except TimeoutError:
                    continue

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        over.set()
        thread.join()
    assert came == []


def test_the_host_is_not_reachable_at_any_of_its_addresses(cell: Cell, listener: int) -> None:
    """Its own network namespace holds lo alone, with no route."""
    addresses = {"127.0.0.1", "169.254.169.254", "172.17.0.1", *socket.gethostbyname_ex(socket.gethostname())[2]}
    for address in sorted(addresses):
        body = f"import socket\nsocket.create_connection(({address!r}, {listener}), 1)"
        assert answer(cell, body) in {"ECONNREFUSED", "ENETUNREACH", "EHOSTUNREACH"}
    assert answer(cell, f"import socket\nsocket.create_connection(('::1', {listener}), 1)") in {
        "ECONNREFUSED", "ENETUNREACH", "EADDRNOTAVAIL"
    }  # fmt: skip


def test_the_interface_can_neither_be_changed_nor_another_added(cell: Cell) -> None:
    body = """
import fcntl, socket, struct
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    fcntl.ioctl(s, 0x8914, struct.pack('16sH14x', b'lo', 0))  # SIOCSIFFLAGS: down
"""
    assert answer(cell, body) == "EPERM"
    names = "return ' '.join(line.split()[0] for line in open('/proc/net/dev') if ':' in line)"
    assert answer(cell, names) == "lo:"


@pytest.mark.parametrize(("family", "protocol"), [("AF_INET", 1), ("AF_INET6", 58)])
def test_no_ping_sockets(cell: Cell, family: str, protocol: int) -> None:
    """What is queued on one is counted by nobody."""
    assert answer(cell, f"import socket\nsocket.socket(socket.{family}, socket.SOCK_DGRAM, {protocol})") == "EPERM"


def test_addresses_are_looked_up_without_netlink(cell: Cell) -> None:
    """The C library asks it which families there are, and goes on without an answer."""
    body = """
import socket
found = socket.getaddrinfo('127.0.0.1', 80, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
with socket.create_server(('127.0.0.1', 0)) as server, socket.create_connection(server.getsockname()):
    return found[0][4][0]
"""
    assert answer(cell, body) == "127.0.0.1"


@pytest.mark.parametrize("call", ["libc.syscall(nr(317, 277), 1, 0, 0)", "libc.prctl(22, 2, 0, 0, 0)"])
def test_no_filter_of_ones_own(cell: Cell, call: str) -> None:
    """The kernel's room for compiled filters is one for the whole host."""
    assert answer(cell, f"if {call} < 0: raise OSError(ctypes.get_errno(), '')") in {"ENOSYS", "EPERM"}


def test_unix_sockets_of_the_host_are_out_of_reach(cell: Cell) -> None:
    """Abstract ones belong to the network namespace, named ones lie in no file system that is mounted."""
    name = f"agent-pipeline-attack-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0{name}")
        abstract.listen()
        assert answer(cell, f"import socket\nsocket.socket(socket.AF_UNIX).connect('\\0{name}')") == "ECONNREFUSED"
    for path in (
        "/run/docker.sock",
        "/var/run/docker.sock",
        "/run/containerd/containerd.sock",
        "/run/dbus/system_bus_socket",
    ):
        assert answer(cell, f"import socket\nsocket.socket(socket.AF_UNIX).connect({path!r})") in {"ENOENT", "EACCES"}


def test_the_kernels_log_and_layout_are_masked(cell: Cell) -> None:
    for path in (
        "/proc/kallsyms",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/interrupts",
        "/proc/cmdline",
        "/proc/modules",
    ):
        assert cell.run(["cat", path]).output.strip() == b"" or cell.run(["cat", path]).code != 0, path
    assert (
        cell.run(
            ["sh", "-c", "ls -A /sys/firmware /sys/kernel /sys/fs /proc/scsi 2>/dev/null | grep -v : | tr -d '\\n'"]
        ).output
        == b""
    )


def test_only_the_own_processes_are_seen(cell: Cell) -> None:
    done = cell.run(["sh", "-c", "cat /proc/[0-9]*/comm; cat /proc/loadavg"])
    names = done.output.decode().split("\n")[:-2]
    assert set(names) <= {"python3", "sh", "cat", "bwrap"}


def test_environment_and_arguments_say_nothing_of_the_host(cell: Cell) -> None:
    done = cell.run(
        [
            "sh",
            "-c",
            "env; cat /proc/self/environ | tr '\\0' '\\n'; hostname; cat /etc/hosts /etc/resolv.conf 2>/dev/null",
        ]
    )
    assert socket.gethostname().encode() not in done.output.replace(b"localhost", b"")
    assert not re.search(rb"(?i)token|secret|password|api_key", done.output)
