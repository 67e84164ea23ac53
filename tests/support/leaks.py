"""Looking for a secret everywhere: in processes' environments, arguments and memory, and in files, in any spelling."""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_PIECE = 16  # bytes; a piece of a secret is a leak too


def needles(secret: bytes) -> tuple[bytes, ...]:
    """Return the spellings of `secret` to look for, in pieces: raw, reversed, hex, base64 at each alignment."""
    pieces = [secret[at : at + _PIECE] for at in range(0, len(secret) - _PIECE + 1, _PIECE)] or [secret]
    found = set()
    for piece in pieces:
        found |= {piece, piece[::-1], piece.hex().encode(), piece.hex().upper().encode(), repr(piece)[2:-1].encode()}
        for shift in range(3):  # where the piece stands in what was encoded; the ends depend on its neighbours
            text = base64.b64encode(bytes(shift) + piece)
            found |= {text[4:-4], text[4:-4].replace(b"+", b"-").replace(b"/", b"_")}
    return tuple(sorted(found))


def in_bytes(data: bytes, wanted: tuple[bytes, ...]) -> list[bytes]:
    """Return those of `wanted` that stand in `data`."""
    return [needle for needle in wanted if needle in data]


def in_files(folder: Path, wanted: tuple[bytes, ...], *, but: tuple[Path, ...] = ()) -> list[Path]:
    """Return the files below `folder` that hold one of `wanted`, except `but`."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink() and path not in but]
    return [path for path in files if in_bytes(path.read_bytes(), wanted)]


def in_memory(pid: int, wanted: tuple[bytes, ...]) -> list[bytes]:
    """Return those of `wanted` that stand in a process's memory, its arguments and its environment."""
    held = [Path(f"/proc/{pid}/environ").read_bytes(), Path(f"/proc/{pid}/cmdline").read_bytes()]
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as file:
        for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
            spans, rights, *rest = line.split(maxsplit=5)
            if "r" in rights and not (len(rest) == 4 and rest[-1].startswith(("[vvar", "[vsyscall"))):
                begin, end = (int(number, 16) for number in spans.split("-"))
                with contextlib.suppress(OSError):
                    file.seek(begin)
                    held.append(file.read(end - begin))
    return in_bytes(b"\0".join(held), wanted)


def descendants(pid: int) -> set[int]:
    """Return the processes below `pid`, itself included, that are there just now."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):
                stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
                parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found, fresh = {pid}, {pid}
    while fresh:
        fresh = {child for child, parent in parents.items() if parent in fresh} - found
        found |= fresh
    return found


@dataclass
class Watch:
    """What was seen of a process tree while it ran: which programs, and in which of them a secret stood."""

    seen: set[str] = field(default_factory=set)
    leaks: set[str] = field(default_factory=set)


@contextlib.contextmanager
def watching(pid: int, wanted: tuple[bytes, ...], begun: str) -> Iterator[Watch]:
    """Look at the environment and arguments of every process below `pid`, again and again.

    `begun` is a variable that stands in the environment of those that count: the first process before it starts itself
    again is what it is given by whoever starts it.
    """
    watch, over = Watch(), threading.Event()

    def look() -> None:
        while not over.is_set():
            for process in descendants(pid):
                with contextlib.suppress(OSError):
                    shown = Path(f"/proc/{process}/cmdline").read_bytes()
                    environment = Path(f"/proc/{process}/environ").read_bytes()
                    if process == pid and begun.encode() not in environment:
                        continue
                    watch.seen.add(shown.replace(b"\0", b" ").decode("utf-8", "replace")[:200])
                    if in_bytes(shown + b"\0" + environment, wanted):
                        watch.leaks.add(f"{process}: {shown[:200]!r}")
            over.wait(0.02)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join(timeout=10)
