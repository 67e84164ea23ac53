"""Logs of any length in real repositories: written by the production code, stored through git fast-import."""

from __future__ import annotations

import base64
import subprocess  # noqa: TID251 - git itself takes what would be millions of loose objects
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from support.trust import Maker, sign

from agent_pipeline import clock
from agent_pipeline.attestation import log_entries
from agent_pipeline.audit import log as audit_log
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.repository import fresh
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.records import LOG

LARGE, SMALL = 100_000, 1_000
_EVENTS = ("admitted", "approved", "merged")  # about each request, ten requests side by side


def written(folder: Path, size: int, maker: Maker) -> Clone:
    """Make a repository whose log has `size` signed entries, the middle one about the maker's request."""
    fresh.initialise(folder, "Bench", "bench@example.org")
    (folder / "file").write_text("x\n")
    fresh.commit_all(folder, "A file\n", clock.now())
    importing = subprocess.Popen(["git", "-C", str(folder), "fast-import", "--quiet", "--done"], stdin=subprocess.PIPE)  # noqa: S607
    assert importing.stdin is not None
    for part in _stream(size, maker):
        importing.stdin.write(part)
    importing.stdin.close()
    assert importing.wait() == 0
    return Clone.discover(folder)


def _stream(size: int, maker: Maker) -> Iterator[bytes]:
    plain = LogEntry.from_dict(log_entries.read_unsigned(maker.entry([], "admitted")).to_dict())
    files: dict[str, bytes] = {}
    roots = log_entries.FIRST
    for index in range(size):
        mine = index == size // 2
        entry = replace(
            plain, index=index, previous=roots.previous, history=roots.history, state=roots.state,
            event="admitted" if mine else _EVENTS[index // 10 % 3],
            request=maker.request().id if mine else _id(index // 30 * 10 + index % 10),
        )  # fmt: skip
        envelope = sign(entry.to_statement(), maker.ci)
        yield _commit(index, roots.files | {audit_log.FILE: envelope})
        roots = log_entries.after(files.get, entry, envelope)
        files.update({path: data for path, data in roots.files.items() if data is not None})
        for path in [path for path, data in roots.files.items() if data is None]:
            files.pop(path, None)
    yield b"done\n"


def _id(number: int) -> str:
    return base64.b32encode(number.to_bytes(10, "big")).decode().lower()


def _commit(index: int, files: dict[str, bytes | None]) -> bytes:
    said = f"{index}\n".encode()
    lines = [b"commit %s\nmark :%d\n" % (LOG.encode(), index + 1)]
    lines.append(
        b"committer agent-pipeline <log@agent-pipeline.invalid> 1772366400 +0000\ndata %d\n%s" % (len(said), said)
    )
    lines += [b"from :%d\n" % index] if index else []
    for path, data in sorted(files.items(), key=lambda item: (item[1] is not None, item[0])):
        if data is None:
            lines.append(b"D %s\n" % path.encode())
        else:
            lines.append(b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data))
    return b"".join([*lines, b"\n"])
