"""PID 1 of every sandbox: runs commands and moves files for the host, over typed frames on stdin and stdout.

Where host and sandbox share the workspace's directory, the host may hand it two named pipes there to go on by, past
the engine; stdin stays the lifeline.

`python3 -I -S /opt/agent-pipeline/frame_agent.pyc`, Python 3.11+, standard library only, and little of it: start-up is
part of every run, so it is compiled ahead (`compile_agent.py`). Whoever starts it owns it: it ends when stdin closes,
or at its deadline, and with it the kernel ends everything else in the PID namespace. It is killed, never trusted; the
host reads its answers as a hostile peer's.

A frame is type (1 byte), tag (8 bytes, chosen by the host, echoed), length (4 bytes), and that many bytes of fields;
a field is a length (4 bytes) and that many bytes. The host's half is `agent_pipeline/sandbox/frames.py`.

What a command cannot do to it: signal it (the kernel drops signals to PID 1 that have no handler, and it has none),
trace or read it (not dumpable), inherit its descriptors (all close on exec), speak in its name (framing is out of
band), or outlive its own turn (everything else is killed after each command).
"""

# pathlib and contextlib would double the time that PID 1 takes to start.
# ruff: noqa: PTH103, PTH104, PTH108, PTH109, PTH112, PTH115, PTH116, PTH118, PTH120, PTH208, SIM105, D107

import ctypes
import errno
import os
import select
import stat
import time

PROTOCOL = 1
WORKSPACE = "/workspace"

HELLO, EXEC, READ, WRITE, LIST, TERMINAL, INPUT, RESIZE, PIPES = 1, 2, 3, 4, 5, 6, 7, 8, 9
POSTURE, RESULT, DATA, NAMES, DONE, FAULT, OUTPUT = 65, 66, 67, 68, 69, 70, 71
NOT_FOUND, IS_DIRECTORY, NOT_DIRECTORY, NOT_REGULAR, TOO_LARGE, OUTSIDE, DENIED, NO_SPACE, OTHER = range(1, 10)
TIMED_OUT, FLOODED, TRUNCATED = 1, 2, 4

HEADER = 13
REQUEST_LIMIT = 32 << 20
NAMES_LIMIT = 1 << 20
FLOOD = 64 << 20  # a command that says more than this is killed; what is kept of it is bounded far below
CHUNK = 1 << 16
TYPED = 1 << 16  # what a person typed and the program has not read; more is left on the wire
MARKER_ROOM = 48
ENDED = select.POLLERR | select.POLLHUP

SIGINT, SIGKILL, SIGSTOP = 2, 9, 19
# A command starts with every signal as the kernel has it. All are named: where one is not, glibc asks first.
SIGNALS = tuple(signal for signal in range(1, 65) if signal not in (SIGKILL, SIGSTOP, 32, 33))
PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4
RLIMIT_NPROC = 6

LIBC = ctypes.CDLL(None, use_errno=True)
FAULTS = {
    errno.ENOENT: NOT_FOUND,
    errno.EISDIR: IS_DIRECTORY,
    errno.ENOTDIR: NOT_DIRECTORY,
    errno.EEXIST: NOT_DIRECTORY,
    errno.ENXIO: NOT_REGULAR,
    errno.ELOOP: NOT_REGULAR,
    errno.EFBIG: TOO_LARGE,
    errno.EACCES: DENIED,
    errno.EPERM: DENIED,
    errno.EROFS: DENIED,
    errno.ENOSPC: NO_SPACE,
    errno.EDQUOT: NO_SPACE,
}


class FaultError(Exception):
    """The answer is one of the fault codes."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


def leave():
    """End at once; the kernel kills everything else in this PID namespace."""
    os._exit(0)


def pack(fields):
    """Return fields as bytes."""
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)


def unpack(data):
    """Return the fields in `data`."""
    fields, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        fields.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return fields


class Wire:
    """The two pipes to the host, never blocking past the deadline, never surviving the host."""

    def __init__(self, reader, writer):
        self.deadline = time.monotonic() + 60  # until the host says otherwise
        self.lifeline = reader  # its end is the host's, whatever the frames travel by
        self.go_by(reader, writer)

    def go_by(self, reader, writer):
        """Read and write these from now on."""
        self.reader, self.writer = reader, writer
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        self.arriving, self.leaving = select.poll(), select.poll()
        for poller in (self.arriving, self.leaving):
            poller.register(self.lifeline, 0)  # only the end is of interest
            poller.register(reader, 0)
        self.arriving.register(reader, select.POLLIN)
        self.leaving.register(writer, select.POLLOUT)

    def left(self):
        """Return the milliseconds of life that are left; ends the process when there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            leave()
        return int(left * 1000) + 1

    def take(self, size):
        """Return exactly `size` bytes of the host's."""
        data = bytearray()
        while len(data) < size:
            left = self.left()
            try:
                chunk = os.read(self.reader, min(size - len(data), 1 << 20))
            except BlockingIOError:
                for descriptor, event in self.arriving.poll(left):
                    if descriptor == self.lifeline and event & ENDED:
                        leave()
                continue
            if not chunk:
                leave()
            data += chunk
        return bytes(data)

    def receive(self):
        """Return type, tag and fields of the next request."""
        header = self.take(HEADER)
        size = int.from_bytes(header[9:], "big")
        if size > REQUEST_LIMIT:
            leave()
        return header[0], header[1:9], unpack(self.take(size))

    def send(self, kind, tag, fields):
        """Answer the request with that tag."""
        payload = pack(fields)
        data = memoryview(bytes([kind]) + tag + len(payload).to_bytes(4, "big") + payload)
        while data:
            left = self.left()
            try:
                data = data[os.write(self.writer, data) :]
            except BlockingIOError:
                for descriptor, event in self.leaving.poll(left):
                    if descriptor in (self.reader, self.lifeline) or event & ENDED:
                        leave()
            except OSError:
                leave()


class Kept:
    """The first and the last of what a command says, within `limit` bytes."""

    def __init__(self, limit):
        room = max(limit - MARKER_ROOM, 0)
        self.limit, self.half = limit, room // 2
        self.head, self.tail, self.total = bytearray(), bytearray(), 0

    def add(self, chunk):
        """Keep what there is room for."""
        self.total += len(chunk)
        room = self.limit - len(self.head)
        if room > 0:
            self.head += chunk[:room]
        self.tail += chunk
        if len(self.tail) > self.half:
            del self.tail[: len(self.tail) - self.half]

    def value(self):
        """Return what was kept, saying in the middle how much is missing."""
        if self.total <= self.limit:
            return bytes(self.head)
        cut = self.total - 2 * self.half
        tail = self.tail if self.half else b""
        return (bytes(self.head[: self.half]) + b"\n[... %d bytes cut ...]\n" % cut + bytes(tail))[: self.limit]


class Adjuster:
    """Makes commands the out-of-memory killer's first choice, and PID 1 its last.

    A process may always raise its score, and lower it again to where it was; children inherit it.
    """

    def __init__(self):
        try:
            self.file = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
            self.base = os.read(self.file, 16).strip()
        except OSError:
            self.file = None  # no such file, no such protection: the memory bound holds all the same

    def set(self, raised):
        """Raise the score for what is started next, or go back."""
        if self.file is None:
            return
        try:
            os.pwrite(self.file, b"1000" if raised else self.base, 0)
        except OSError:
            self.file = None


def sweep():
    """Kill and reap everything else in the PID namespace.

    Only ever as PID 1: `kill(-1)` elsewhere is everybody's end.
    """
    if os.getpid() != 1:
        leave()
    while True:
        try:
            os.kill(-1, SIGKILL)
        except ProcessLookupError:
            pass  # nobody is left to be killed; the dead may still have to be reaped
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def locate(program, env):
    """Return the path to execute for `program`. Raises FileNotFoundError."""
    if b"/" in program:
        return program
    for folder in env.get(b"PATH", b"/usr/bin:/bin").split(b":"):
        path = os.path.join(folder or b".", program)
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    raise FileNotFoundError(errno.ENOENT, "command not found")


def launch(argv, env, null, writer, adjuster):
    """Start a command in a session of its own: stdin /dev/null, stdout and stderr one pipe, nothing else open."""
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_DUP2, writer, 2)]
    adjuster.set(raised=True)
    try:
        return os.posix_spawn(
            locate(argv[0], env),
            argv,
            env,
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=SIGNALS,
        )
    finally:
        adjuster.set(raised=False)


def watch(wire, pid, reader, kept, end):
    """Read until the command ends, its time is over or it floods; return its exit code or None, and flags."""
    ended = os.pidfd_open(pid)
    poller = select.poll()
    for descriptor in (ended, reader):
        poller.register(descriptor, select.POLLIN)
    for descriptor in (wire.reader, wire.lifeline):
        poller.register(descriptor, 0)
    try:
        while True:
            left = end - time.monotonic()
            if left <= 0:
                return None, TIMED_OUT
            ready = [descriptor for descriptor, _ in poller.poll(min(int(left * 1000) + 1, wire.left()))]
            if wire.reader in ready or wire.lifeline in ready:
                leave()
            if reader in ready and not drain(reader, kept, once=True):
                poller.unregister(reader)
            if kept.total > FLOOD:
                return None, FLOODED
            if ended in ready:
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                return (128 - code if code < 0 else code), 0
    finally:
        os.close(ended)


def drain(reader, kept, *, once):
    """Keep what is in the pipe; return whether more may come."""
    while True:
        try:
            chunk = os.read(reader, CHUNK)
        except BlockingIOError:
            return True
        if not chunk:
            return False
        kept.add(chunk)
        if once or kept.total > 2 * FLOOD:
            return True


class Terminal:
    """A program on a terminal of its own, whose far side is the wire: what a person's shell needs.

    The terminal is made in here, by this namespace's devpts: none of the host's is ever a descriptor of the program's.
    """

    def __init__(self, wire, tag):
        self.wire, self.tag, self.typed = wire, tag, bytearray()
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        self.poller = select.poll()
        self.open = True

    def resize(self, rows, cols):
        """Tell the program the size of the person's screen."""
        import termios  # noqa: PLC0415 - only a person's shell needs it, and start-up is part of every run

        try:
            termios.tcsetwinsize(self.master, (int(rows), int(cols)))
        except (termios.error, ValueError):
            pass

    def start(self, argv, env):
        """Start the program in a session of its own with this terminal as the controlling one."""
        name = os.ttyname(self.slave)
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, name, os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 0, 1),
            (os.POSIX_SPAWN_DUP2, 0, 2),
        ]
        try:
            return os.posix_spawn(
                locate(argv[0], env),
                argv,
                env,
                file_actions=actions,
                setsid=True,
                setsigmask=(),
                setsigdef=SIGNALS,
            )
        finally:
            os.close(self.slave)

    def serve(self, pid):
        """Pass everything on in both directions until the program ends; return its exit code."""
        ended = os.pidfd_open(pid)
        self.poller.register(ended, select.POLLIN)
        try:
            while True:
                self.watch()
                ready = [descriptor for descriptor, _ in self.poller.poll(self.wire.left())]
                if self.wire.reader in ready:
                    self.obey()
                elif self.wire.lifeline in ready:
                    leave()
                if self.master in ready:
                    self.pass_on()
                if ended in ready:
                    while self.open and self.pass_on():
                        pass
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    return 128 - code if code < 0 else code
        finally:
            os.close(ended)

    def watch(self):
        """Wait for what can be dealt with now."""
        self.poller.register(self.wire.lifeline, 0)
        self.poller.register(self.wire.reader, select.POLLIN if len(self.typed) < TYPED else 0)
        if self.open:
            self.poller.register(self.master, select.POLLIN | (select.POLLOUT if self.typed else 0))

    def obey(self):
        """Take what the person typed, or the new size of the screen."""
        kind, _, fields = self.wire.receive()
        if kind == INPUT:
            self.typed += fields[0]
        elif kind == RESIZE:
            self.resize(*fields)
        else:
            leave()

    def pass_on(self):
        """Move what can be moved without waiting; return whether the program said something."""
        try:
            if self.typed:
                del self.typed[: os.write(self.master, self.typed[:CHUNK])]
        except BlockingIOError:
            pass
        except OSError:
            self.typed.clear()
        try:
            chunk = os.read(self.master, CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            chunk = b""  # EIO: nobody has the terminal open any more
        if not chunk:
            self.open = False
            self.poller.unregister(self.master)
            return False
        self.wire.send(OUTPUT, self.tag, [chunk])
        return True


class Agent:
    """Serves the host's requests, one at a time."""

    def __init__(self, wire, facts):
        self.wire, self.facts = wire, facts
        self.null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self.adjuster = Adjuster()

    def hello(self, seconds, nproc):
        """Report the walls; from here on undumpable, with that many seconds to live."""
        self.wire.deadline = time.monotonic() + float(seconds)
        if nproc:
            limit = (ctypes.c_ulong * 2)(int(nproc), int(nproc))
            if LIBC.setrlimit(RLIMIT_NPROC, limit):
                leave()
        self.facts.update(limits())
        LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        self.facts["dumpable"] = str(LIBC.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0))
        return POSTURE, [os.fsencode(text) for pair in sorted(self.facts.items()) for text in pair]

    def execute(self, seconds, limit, count, *rest):
        """Run one command to its end and leave nothing of it running."""
        argv, env = rest[: int(count)], dict(pair.split(b"=", 1) for pair in rest[int(count) :])
        kept, end = Kept(int(limit)), time.monotonic() + float(seconds)
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        try:
            try:
                pid = launch(argv, env, self.null, writer, self.adjuster)
            except (OSError, ValueError) as error:
                kept.add(b"%s: %s\n" % (argv[0], os.fsencode(getattr(error, "strerror", None) or "cannot be run")))
                code, flags = (127 if isinstance(error, FileNotFoundError) else 126), 0
            else:
                code, flags = watch(self.wire, pid, reader, kept, end)
            sweep()
            os.close(writer)
            writer = None
            drain(reader, kept, once=False)
        finally:
            os.close(reader)
            if writer is not None:
                os.close(writer)
        if kept.total > kept.limit:
            flags |= TRUNCATED
        return RESULT, [b"" if code is None else b"%d" % code, b"%d" % flags, kept.value()]

    def terminal(self, tag, rows, cols, count, *rest):
        """Run one program on a terminal to its end and leave nothing of it running."""
        argv, env = rest[: int(count)], dict(pair.split(b"=", 1) for pair in rest[int(count) :])
        terminal = Terminal(self.wire, tag)
        try:
            terminal.resize(rows, cols)
            self.adjuster.set(raised=True)
            try:
                pid = terminal.start(argv, env)
            finally:
                self.adjuster.set(raised=False)
            code = terminal.serve(pid)
            sweep()
        finally:
            os.close(terminal.master)
        return RESULT, [b"%d" % code, b"0", b""]

    def read(self, path, limit):
        """Return a regular file's content."""
        path, limit = os.path.join(WORKSPACE, os.fsdecode(path)), int(limit)
        self._regular(os.stat(path), limit)  # before opening: opening a device or a pipe can do things
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            self._regular(os.fstat(file), limit)
            data = bytearray()
            while len(data) <= limit and (chunk := os.read(file, min(1 << 20, limit + 1 - len(data)))):
                data += chunk
        finally:
            os.close(file)
        if len(data) > limit:
            raise FaultError(TOO_LARGE)
        return DATA, [bytes(data)]

    @staticmethod
    def _regular(info, limit):
        if stat.S_ISDIR(info.st_mode):
            raise FaultError(IS_DIRECTORY)
        if not stat.S_ISREG(info.st_mode):
            raise FaultError(NOT_REGULAR)
        if info.st_size > limit:
            raise FaultError(TOO_LARGE)

    def write(self, path, content):
        """Create or replace a file below the workspace, whole or not at all; its mode is kept."""
        path = os.path.realpath(os.path.join(WORKSPACE, os.fsdecode(path)))
        if not path.startswith(WORKSPACE + "/"):
            raise FaultError(OUTSIDE)
        mode = 0o644
        if os.path.lexists(path):
            info = os.lstat(path)
            self._regular(info, info.st_size)
            mode = stat.S_IMODE(info.st_mode) & 0o777
        folder = os.path.dirname(path)
        os.makedirs(folder, mode=0o755, exist_ok=True)
        self._replace(path, os.path.join(folder, ".agent-pipeline-" + os.urandom(8).hex()), content, mode)
        return DONE, []

    @staticmethod
    def _replace(path, beside, content, mode):
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                data = memoryview(content)
                while data:
                    data = data[os.write(file, data) :]
                os.fchmod(file, mode)
            finally:
                os.close(file)
            os.rename(beside, path)
        except OSError:
            os.unlink(beside)
            raise

    def listing(self, path):
        """Return the names in a directory; directories end with a slash."""
        names, total = [], 0
        with os.scandir(os.path.join(os.fsencode(WORKSPACE), path)) as entries:
            for entry in entries:
                names.append(entry.name + (b"/" if entry.is_dir(follow_symlinks=False) else b""))
                total += len(names[-1]) + 4
                if total > NAMES_LIMIT:
                    raise FaultError(TOO_LARGE)
        return NAMES, sorted(names)

    def answer(self, kind, tag, fields):
        """Return type and fields of the answer to a request."""
        serve = {EXEC: self.execute, READ: self.read, WRITE: self.write, LIST: self.listing}
        try:
            if kind == TERMINAL:
                return self.terminal(tag, *fields)
            return serve[kind](*fields)
        except FaultError as fault:
            return FAULT, [b"%d" % fault.code]
        except OSError as error:
            return FAULT, [b"%d" % FAULTS.get(error.errno, OTHER)]
        except (ValueError, RecursionError):  # `realpath` and `makedirs` call themselves
            return FAULT, [b"%d" % OTHER]

    def switch(self, tag, names):
        """Go on by two named pipes of the workspace: one to read, one to write. Where there are none, stay."""
        opened = []
        try:
            for name, way in zip(names, (os.O_RDONLY, os.O_WRONLY), strict=True):
                path = os.path.join(os.fsencode(WORKSPACE), name)
                opened.append(os.open(path, way | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC))
        except OSError as error:
            for descriptor in opened:
                os.close(descriptor)
            self.wire.send(FAULT, tag, [b"%d" % FAULTS.get(error.errno, OTHER)])
            return
        self.wire.send(DONE, tag, [])
        self.wire.go_by(*opened)  # what was there before stays open: an engine would take its end for ours

    def serve(self):
        """Greet once, then answer until the host is gone."""
        kind, tag, fields = self.wire.receive()
        if kind != HELLO:
            leave()
        self.wire.send(*self._tagged(tag, self.hello(*fields)))
        while True:
            kind, tag, fields = self.wire.receive()
            if kind in (INPUT, RESIZE):
                continue  # typed to a program that had ended by then
            if kind == PIPES:
                self.switch(tag, fields)
                continue
            self.wire.send(*self._tagged(tag, self.answer(kind, tag, fields)))

    @staticmethod
    def _tagged(tag, answer):
        return answer[0], tag, answer[1]


def text_of(path):
    """Return a small file's text, empty when it is not there."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        data = bytearray()
        while chunk := os.read(file, CHUNK):
            data += chunk
    finally:
        os.close(file)
    return os.fsdecode(bytes(data))


def refusal(result):
    """Return how the kernel answered a call that must be refused."""
    return "allowed" if result >= 0 else errno.errorcode.get(ctypes.get_errno(), "unknown")


def forbidden():
    """Try what must not work, and say how it was refused."""
    found = {}
    for name, family, kind in (("vsock", 40, 1), ("packet", 17, 3), ("alg", 38, 5)):
        found["refused.socket-" + name] = refusal(LIBC.socket(family, kind, 0))
    found["refused.unshare"] = refusal(LIBC.unshare(0x10000000))
    found["refused.ptrace"] = refusal(LIBC.ptrace(0, 0, 0, 0))
    found["refused.mount"] = refusal(LIBC.mount(b"none", b"/tmp", b"tmpfs", 0, None))
    found["refused.io-uring"] = refusal(LIBC.syscall(425, 1, 0))
    found["refused.write-root"] = refusal(LIBC.mkdir(b"/.agent-pipeline-probe", 0o700))
    return found


def mounts():
    """Return the mounts: where, what of the file system, its kind, options and propagation, and its own options."""
    lines = []
    for line in text_of("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, source = before.split(" "), after.split(" ")
        options = ",".join([fields[5], *(peers.partition(":")[0] for peers in fields[6:])])
        lines.append(" ".join((fields[4], fields[3], source[0], options, source[2])))
    return "\n".join(lines)


def limits():
    """Return the resource limits that bound a sandbox, soft and hard."""
    bounding = ("core file size", "open files", "locked memory", "msgqueue size", "file size")
    bounding += ("nice priority", "realtime priority")
    standing_in = ("address space", "processes")  # for a control group, where there is none
    found = {}
    for line in text_of("/proc/self/limits").splitlines()[1:]:
        name = line[4:26].strip()
        if name in bounding or name in standing_in:
            found["limit." + name] = " ".join(line[26:].split()[:2])
    return found


def listed(path, words):
    """Return the words after the first of each line, of those lines that begin with one of `words`, or of all."""
    lines = [line.partition("#")[0].split() for line in text_of(path).splitlines()]
    return {word for line in lines if line and (not words or line[0] in words) for word in line[1:]}


def columns(path, column, skip):
    """Return one column of a table of /proc/net, without its first `skip` lines."""
    return "\n".join(sorted({line.split()[column].rstrip(":") for line in text_of(path).splitlines()[skip:]}))


def posture():
    """Describe this process's walls, as strings; the host compares them with what it expects."""
    facts = {"protocol": str(PROTOCOL), "pid": str(os.getpid()), "cwd": os.getcwd(), "hostname": os.uname().nodename}
    descriptors = []
    for name in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(name))
        except OSError:
            continue  # the descriptor that read the directory
        descriptors.append(name)
    facts["descriptors"] = " ".join(sorted(descriptors))
    for line in text_of("/proc/self/status").splitlines():
        name, _, value = line.partition(":")
        if name in ("Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp") or name.startswith("Cap"):
            facts["status." + name] = " ".join(value.split())
    for name in ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts"):
        facts["namespace." + name] = os.readlink("/proc/self/ns/" + name)
    facts["uid_map"] = " ".join(text_of("/proc/self/uid_map").split())
    facts["environment"] = " ".join(sorted(os.environ))
    facts["devices"] = " ".join(sorted(os.listdir("/dev")))
    facts["interfaces"] = columns("/proc/net/dev", 0, 2)
    facts["routes"] = columns("/proc/net/route", 0, 1)
    facts["routes6"] = columns("/proc/net/ipv6_route", -1, 0)
    facts["mounts"] = mounts()
    facts["nameservers"] = " ".join(sorted(listed("/etc/resolv.conf", ("nameserver",))))
    names = listed("/etc/hosts", ()) | listed("/etc/resolv.conf", ("search", "domain"))
    facts["names"] = " ".join(sorted(names))
    sockets = ("/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock", "/run/systemd/private")
    facts["engine-sockets"] = " ".join(path for path in sockets if os.path.lexists(path))
    facts.update(forbidden())
    return facts


def main():
    """Take the pipes away from 0, 1 and 2, look at the walls, and serve."""
    if os.getpid() != 1:
        os.write(2, b"frame agent: only ever PID 1 of a PID namespace of its own\n")
        os._exit(2)
    LIBC.signal(SIGINT, 0)  # Python's own handler would let a command interrupt PID 1
    facts = posture()
    wire = Wire(os.dup(0), os.dup(1))
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    os.umask(0o022)
    os.chdir(WORKSPACE)
    Agent(wire, facts).serve()


if __name__ == "__main__":
    main()
